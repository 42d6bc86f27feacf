"""`decide`: one verdict in, one decision out. Pure.

In this order: no rule matches; an earlier action is still open; the rule cools down;
the session's limit is reached; the ladder's next rung.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b
from math import ceil
from typing import NamedTuple

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Decision, Skipped
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.verdict import Severity, Verdict
from supervisor.policy.history import History
from supervisor.policy.model import Cooldown, Mode, Policy, Rule, Rung, duration_text

__all__ = ["decide", "matches"]

_RANK = {severity: rank for rank, severity in enumerate(Severity)}

_TURNED_OUT = {
    OutcomeStatus.FAILED: "did not help",
    OutcomeStatus.RELAPSED: "helped, and the failure came back",
    OutcomeStatus.CLEARED: "helped, and the failure is back",
    OutcomeStatus.SUPERSEDED: "could not be judged",
}


class _Answer(NamedTuple):
    """What `decide` found, before it is made a decision."""

    choice: Choice
    reason: str
    rule: str | None = None
    rung: int | None = None
    step: Rung | None = None
    skipped: tuple[Skipped, ...] = ()


def decide(
    policy: Policy,
    verdict: Verdict,
    history: History,
    now: datetime,
    *,
    actions: Mapping[str, type[Action]],
    capabilities: frozenset[Capability],
) -> Decision:
    """Choose what to do about `verdict`. The same arguments give the same decision.

    Every verdict gets one, "no rule matched" included. `history` is only read: whoever
    acts on the decision records it there, and records an open action's failure before
    deciding on the verdict that shows it. `actions` are the installed ones,
    `capabilities` what the runtime can do: a rung that needs more is skipped.
    """
    answer = _answer(policy, verdict, history, now, _Reach(actions, capabilities))
    if policy.mode is Mode.OBSERVE and answer.choice is Choice.ACT:
        answer = answer._replace(choice=Choice.OBSERVE, reason=f"observing only: {answer.reason}")
    step = answer.step
    return Decision(
        id=_identity(verdict, answer),
        session_id=verdict.session_id,
        seq=verdict.seq,
        at=now,
        verdict=verdict,
        choice=answer.choice,
        reason=answer.reason,
        rule=answer.rule,
        rung=answer.rung,
        action=step.action if step else None,
        params=step.params.model_dump(mode="json") if step else {},
        skipped=answer.skipped,
    )


class _Reach(NamedTuple):
    """What can be done here."""

    actions: Mapping[str, type[Action]]
    capabilities: frozenset[Capability]

    def skip(self, rung: Rung) -> Skipped | None:
        """Why `rung` cannot be taken; None if it can."""
        action = self.actions.get(rung.action)
        if action is None:
            return Skipped(rung.action, "no such action is installed")
        lacking = action.needs - self.capabilities
        if not lacking:
            return None
        return Skipped(rung.action, f"needs {', '.join(sorted(lacking))}, which this runtime lacks")


def _answer(
    policy: Policy, verdict: Verdict, history: History, now: datetime, reach: _Reach
) -> _Answer:
    rule = next((rule for rule in policy.rules if matches(rule, verdict)), None)
    if rule is None:
        return _Answer(Choice.NO_RULE, _no_rule(policy, verdict))
    return (
        _waiting(rule, verdict, history)
        or _cooling(rule, verdict, history, now)
        or _limited(policy, rule, history, now, reach)
        or _climb(rule, verdict, history, reach)
    )


def matches(rule: Rule, verdict: Verdict) -> bool:
    """Whether `rule` is for such a verdict."""
    return _miss(rule, verdict) is None


def _miss(rule: Rule, verdict: Verdict) -> str | None:
    """Why `rule` does not match; None if it does."""
    if verdict.failure_mode not in rule.on:
        return f"is for {' or '.join(rule.on)}"
    if rule.detector not in (None, verdict.detector):
        return f"is for the detector {rule.detector}, not {verdict.detector}"
    if verdict.confidence < rule.min_confidence:
        return f"asks for confidence {rule.min_confidence:g}, not {verdict.confidence:g}"
    if _RANK[verdict.severity] < _RANK[rule.min_severity]:
        return f"asks for severity {rule.min_severity}, not {verdict.severity}"
    return None


def _no_rule(policy: Policy, verdict: Verdict) -> str:
    near = [
        f"{rule.name!r} {_miss(rule, verdict)}"
        for rule in policy.rules
        if verdict.failure_mode in rule.on
    ]
    return f"no rule matches: {'; '.join(near) or f'none is for {verdict.failure_mode}'}"


def _waiting(rule: Rule, verdict: Verdict, history: History) -> _Answer | None:
    # Another rule's action may act on what follows an action, but not come between it and
    # its effect.
    newest = history.last_of_agent(verdict.agent_id)
    same = history.last_of_rule(rule.name, verdict.agent_id)
    if newest is not None and newest.outcome is None and not newest.in_effect:
        last = newest
    elif same is not None and same.outcome is None:
        last = same
    else:
        return None
    reason = f"waiting for what comes of {last.decision.action}, decided at {last.decision.seq}"
    return _Answer(Choice.WAITING, reason, rule.name)


def _cooling(rule: Rule, verdict: Verdict, history: History, now: datetime) -> _Answer | None:
    last = history.last_of_rule(rule.name, verdict.agent_id)
    if last is None or rule.cooldown is None:
        return None
    left = _left(rule.cooldown, verdict.seq - last.decision.seq, now - last.decision.at)
    if left is None:
        return None
    reason = f"{rule.name!r} cools down for another {left} after {last.decision.action}"
    return _Answer(Choice.COOLDOWN, reason, rule.name)


def _left(cooldown: Cooldown, entries: int, time: timedelta) -> str | None:
    """What is left of `cooldown` after so many entries and so much time; None if nothing."""
    if cooldown.entries is not None and entries < cooldown.entries:
        left = cooldown.entries - entries
        return f"{left} {'entry' if left == 1 else 'entries'}"
    if cooldown.time is not None and time < cooldown.time:
        return f"{ceil((cooldown.time - time).total_seconds())} s"
    return None


def _limited(
    policy: Policy, rule: Rule, history: History, now: datetime, reach: _Reach
) -> _Answer | None:
    limit = policy.limits.interventions
    if limit is None:
        return None
    oldest = history.time_of(limit.max)
    if oldest is None or now - oldest >= limit.per:
        return None
    reason = f"the limit of {limit.max} interventions in {duration_text(limit.per)} is reached"
    if limit.then is None:
        return _Answer(Choice.EXHAUSTED, reason, rule.name)
    if skipped := reach.skip(limit.then):
        reason = f"{reason}, and {limit.then.action} is out of reach"
        return _Answer(Choice.EXHAUSTED, reason, rule.name, skipped=(skipped,))
    return _Answer(Choice.ACT, f"{reason}: {limit.then.action}", rule.name, step=limit.then)


def _climb(rule: Rule, verdict: Verdict, history: History, reach: _Reach) -> _Answer:
    """The ladder's next rung that is within reach."""
    start, why = _next_rung(rule, verdict, history)
    passed: list[Skipped] = []
    for index in range(start, len(rule.ladder)):
        rung = rule.ladder[index]
        skipped = reach.skip(rung)
        if skipped is None:
            reason = f"{why}: {rung.action}, rung {index + 1} of {len(rule.ladder)}"
            return _Answer(Choice.ACT, reason, rule.name, index, rung, tuple(passed))
        passed.append(skipped)
    end = "no rung is left" if not passed else "no rung that is left is within reach"
    return _Answer(Choice.EXHAUSTED, f"{why}, and {end}", rule.name, skipped=tuple(passed))


def _next_rung(rule: Rule, verdict: Verdict, history: History) -> tuple[int, str]:
    """Where the ladder goes on for this failure, and why there."""
    last = history.last_of_failure(rule.name, verdict.agent_id, verdict.key)
    if last is None or last.decision.rung is None:
        return 0, f"{rule.name!r} begins its ladder"
    status = last.outcome.status if last.outcome else OutcomeStatus.SUPERSEDED
    why = f"{last.decision.action} {_TURNED_OUT[status]}"
    again = status is OutcomeStatus.SUPERSEDED
    return last.decision.rung + (not again), why


def _identity(verdict: Verdict, answer: _Answer) -> str:
    """The same for the same verdict, rule and choice, on every host and on replay."""
    parts = (verdict.session_id, verdict.id, answer.rule or "-", answer.choice)
    # A key may quote the agent, whose text may hold half a character.
    text = "\0".join(parts).encode(errors="surrogatepass")
    return blake2b(text, digest_size=10).hexdigest()
