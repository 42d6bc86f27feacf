"""Whether a rule is for a verdict, and if not, why not."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from fnmatch import fnmatchcase

from supervisor.core.verdict import Severity, Verdict
from supervisor.policy.rule import Rule
from supervisor.policy.situation import Situation
from supervisor.policy.when import matches_agent

__all__ = ["matches", "misses"]

_RANK = {severity: rank for rank, severity in enumerate(Severity)}


def matches(rule: Rule, verdict: Verdict) -> bool:
    """Whether `rule` is for such a verdict, in some situation."""
    return rule.enabled and _verdict_miss(rule, verdict) is None


def misses(rule: Rule, verdict: Verdict, situation: Situation, now: datetime) -> str | None:
    """Why `rule` does not match; None if it does."""
    if not rule.enabled:
        return "is switched off"
    missed = _verdict_miss(rule, verdict)
    if missed is not None:
        return missed
    # Most rules ask for nothing of this.
    return next(filter(None, (ask(rule, verdict, situation, now) for ask in _ASKED)), None)


def _verdict_miss(rule: Rule, verdict: Verdict) -> str | None:
    if verdict.failure_mode not in rule.on:
        return f"is for {' or '.join(rule.on)}"
    if rule.detector not in (None, verdict.detector):
        return f"is for the detector {rule.detector}, not {verdict.detector}"
    if verdict.confidence < rule.min_confidence:
        return f"asks for confidence {rule.min_confidence:g}, not {verdict.confidence:g}"
    if _RANK[verdict.severity] < _RANK[rule.min_severity]:
        return f"asks for severity {rule.min_severity}, not {verdict.severity}"
    if rule.agent == "main" and verdict.agent_id is not None:
        return "is for the main agent"
    if rule.agent not in (None, "main") and verdict.agent_id is None:
        return f"is for {_agents(rule.agent)}"
    return None


def _agents(pattern: str | None) -> str:
    return "subagents" if pattern == "subagents" else f"subagents like {pattern}"


def _agent(rule: Rule, verdict: Verdict, situation: Situation, now: datetime) -> str | None:
    if rule.agent is None or matches_agent(rule.agent, verdict.agent_id, situation.agent_type):
        return None
    return f"is for {_agents(rule.agent)}"


def _labels(rule: Rule, verdict: Verdict, situation: Situation, now: datetime) -> str | None:
    for name, pattern in rule.labels.items():
        value = situation.labels.get(name)
        if value is None:
            return f"asks for the label {name}={pattern}, and the session has no {name}"
        if not fnmatchcase(value, pattern):
            return f"asks for the label {name}={pattern}, not {value}"
    return None


def _time(rule: Rule, verdict: Verdict, situation: Situation, now: datetime) -> str | None:
    if rule.between is None or rule.between.holds(now):
        return None
    return f"is for {rule.between}"


def _cost(rule: Rule, verdict: Verdict, situation: Situation, now: datetime) -> str | None:
    if rule.cost_usd is None or situation.cost_usd > rule.cost_usd.over:
        return None
    return f"asks for a cost over ${rule.cost_usd.over:g}, not ${situation.cost_usd:.2f}"


_Ask = Callable[[Rule, Verdict, Situation, datetime], str | None]
_ASKED: tuple[_Ask, ...] = (_agent, _labels, _time, _cost)
