"""Why a decision was taken: what it rested on, and what would have been decided otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import msgspec

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import FailureMode
from supervisor.errors import TranscriptError
from supervisor.policy.engine import LIMITS, decide
from supervisor.policy.history import History
from supervisor.policy.model import Limit, Limits, Policy, Rule, duration_text
from supervisor.policy.reach import RunMode, capabilities_for
from supervisor.policy.situation import Situation
from supervisor.runtime import registry
from supervisor.runtime.policies import policy_of
from supervisor.runtime.submission import Submission
from supervisor.store.interface import SessionRow, Store

__all__ = ["Alternative", "Earlier", "Explanation", "explain", "find_decision"]

_TOLD = 5
"""Decisions that are named where several are meant."""
_EARLIER = 20
"""Actions before it that are told, the newest."""


class Earlier(msgspec.Struct, frozen=True, kw_only=True):
    """An action taken before, and what came of it by then."""

    decision_id: str
    seq: int
    action: str
    rule: str | None
    same_failure: bool
    outcome: str
    """A status and its reason; empty while it was open."""


class Alternative(msgspec.Struct, frozen=True, kw_only=True):
    """What would have been decided, had one thing been otherwise."""

    without: str
    choice: Choice
    action: str | None
    reason: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """A decision and all that it rested on."""

    decision: Decision
    rule: str | None
    """The rule as the policy has it, in one line."""
    earlier: list[Earlier]
    limits: list[str]
    outcome: Outcome | None
    alternatives: list[Alternative]
    reproduced: bool
    """Whether the policy on record decides the same again. It does not where it was changed
    since, or where what the session had cost mattered."""


async def find_decision(store: Store, identity: str) -> tuple[SessionRow, Decision]:
    """The decision whose id begins so, in any session. Raises `TranscriptError` where there
    is none, or several."""
    found = await store.decisions_like(identity, limit=_TOLD + 1) if identity else []
    if len(found) == 1:
        return await store.session(found[0].session_id), found[0]
    if not found:
        raise TranscriptError(
            f"there is no decision {identity!r}; 'lucid show SESSION' tells a session's"
        )
    ids = ", ".join(decision.id for decision in found[:_TOLD])
    more = ", and more" if len(found) > _TOLD else ""
    raise TranscriptError(
        f"several decisions begin with {identity!r}: {ids}{more}; give more of the id"
    )


async def explain(store: Store, row: SessionRow, decision: Decision) -> Explanation:
    """Explain a decision of a session. Raises `PolicyError` where the policy on record
    cannot be had here."""
    policy = policy_of(row)
    decisions = await store.decisions(row.session_id)
    outcomes = await store.outcomes(row.session_id)
    history = _history(decisions, outcomes, decision)
    asked = Submission.of(row)
    situation = Situation(labels=asked.labels if asked is not None else {})
    again = None if policy is None else _again(policy, decision, history, situation)
    reproduced = again is not None and _same(again, decision)
    rule = _rule(policy, decision)
    return Explanation(
        decision=decision,
        rule=None if rule is None else str(rule),
        earlier=_earlier(decisions, outcomes, decision),
        limits=[] if policy is None else list(_limits(policy.limits, history, decision)),
        outcome=next((o for o in reversed(outcomes) if o.decision_id == decision.id), None),
        alternatives=list(_alternatives(policy, decision, history, situation))
        if policy is not None and reproduced
        else [],
        reproduced=reproduced,
    )


def _history(decisions: list[Decision], outcomes: list[Outcome], until: Decision) -> History:
    """What was known when `until` was decided. What settles an action on a verdict comes
    before the decision on the verdict."""
    history = History()
    events: list[tuple[datetime, int, Decision | Outcome]] = []
    events += [(outcome.at, 0, outcome) for outcome in outcomes if outcome.at <= until.at]
    events += [(one.at, 1, one) for one in decisions if one.at < until.at]
    for _, _, event in sorted(events, key=lambda one: one[:2]):
        if isinstance(event, Decision):
            history.record_decision(event)
        elif event.decision_id != until.id:
            history.record_outcome(event)
    return history


def _again(policy: Policy, decision: Decision, history: History, situation: Situation) -> Decision:
    return decide(
        policy,
        decision.verdict,
        history,
        decision.at,
        actions=registry.actions(),
        capabilities=capabilities_for(decision.verdict, RunMode.WRAPPER),
        situation=situation,
    )


def _same(one: Decision, other: Decision) -> bool:
    return (one.choice, one.rule, one.action) == (other.choice, other.rule, other.action)


def _rule(policy: Policy | None, decision: Decision) -> Rule | None:
    rules = policy.rules if policy is not None else ()
    return next((rule for rule in rules if rule.name == decision.rule), None)


def _earlier(
    decisions: list[Decision], outcomes: list[Outcome], decision: Decision
) -> list[Earlier]:
    known = {one.decision_id: one for one in outcomes if one.at <= decision.at}
    agent = decision.verdict.agent_id
    acted = [
        one
        for one in decisions
        if one.choice is Choice.ACT and one.at < decision.at and one.verdict.agent_id == agent
    ]
    return [
        Earlier(
            decision_id=one.id,
            seq=one.seq,
            action=one.action or "",
            rule=one.rule,
            same_failure=(one.rule, one.verdict.key) == (decision.rule, decision.verdict.key),
            outcome=f"{known[one.id].status}: {known[one.id].reason}" if one.id in known else "",
        )
        for one in acted[-_EARLIER:]
    ]


def _limits(limits: Limits, history: History, decision: Decision) -> Iterator[str]:
    interrupted = decision.verdict.failure_mode is FailureMode.INTERRUPTION
    name = "resumptions" if interrupted else "interventions"
    limit: Limit | None = getattr(limits, name)
    if limit is not None and decision.verdict.detector != LIMITS:
        times = (history.time_of(n, interruptions=interrupted) for n in range(1, limit.max + 1))
        recent = [
            at
            for at in times
            if at is not None and (limit.per is None or decision.at - at < limit.per)
        ]
        span = "in this session" if limit.per is None else f"in {duration_text(limit.per)}"
        yield f"{name}: {len(recent)} of {limit.max} {span}"
    for name, budget in (("tokens", limits.tokens), ("cost_usd", limits.cost_usd)):
        if budget is not None:
            yield f"{name}: at most {budget.max:g} in this session"


def _alternatives(
    policy: Policy, decision: Decision, history: History, situation: Situation
) -> Iterator[Alternative]:
    """What each thing that held it up, taken away, would have led to."""
    for name, other in _variants(policy, decision):
        again = _again(other, decision, history, situation)
        if not _same(again, decision):
            yield Alternative(
                without=name, choice=again.choice, action=again.action, reason=again.reason
            )


def _variants(policy: Policy, decision: Decision) -> Iterator[tuple[str, Policy]]:
    rule = _rule(policy, decision)
    if rule is not None and rule.cooldown is not None:
        yield "the cooldown", _with(policy, rule, rule.model_copy(update={"cooldown": None}))
    if rule is not None and any(rung.wait for rung in rule.ladder):
        ladder = tuple(rung.model_copy(update={"wait": None}) for rung in rule.ladder)
        yield "the waiting", _with(policy, rule, rule.model_copy(update={"ladder": ladder}))
    if decision.limit is not None:
        free = policy.limits.model_copy(update={decision.limit: None})
        yield f"the limit on {decision.limit}", policy.model_copy(update={"limits": free})
    if rule is not None:
        others = tuple(one for one in policy.rules if one.name != rule.name)
        yield f"the rule {rule.name!r}", policy.model_copy(update={"rules": others})


def _with(policy: Policy, old: Rule, new: Rule) -> Policy:
    rules = tuple(new if rule is old else rule for rule in policy.rules)
    return policy.model_copy(update={"rules": rules})
