"""`decide`: one verdict in, one decision out. Pure.

In this order: no rule matches; an earlier action is still open; the rule cools down; the
session's limits are reached; the ladder's next rung.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from hashlib import blake2b

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.policy.history import History
from supervisor.policy.ladder import Answer, Reach, climb, left_of
from supervisor.policy.limits import Limit
from supervisor.policy.matching import matches, misses
from supervisor.policy.model import Policy, Rule, Rung, duration_text
from supervisor.policy.situation import NOWHERE, Situation

__all__ = ["LIMITS", "decide", "matches", "ordered"]

LIMITS = "limits"
"""The detector that stands on a verdict which only says that a budget is spent: the
policy's limits answer it, no rule."""


def decide(
    policy: Policy,
    verdict: Verdict,
    history: History,
    now: datetime,
    *,
    actions: Mapping[str, type[Action]],
    capabilities: frozenset[Capability],
    situation: Situation = NOWHERE,
    hand_over: str = "",
) -> Decision:
    """Choose what to do about `verdict`. The same arguments give the same decision.

    Every verdict gets one, "no rule matched" included. `history` is only read: whoever
    acts on the decision records it there, and records an open action's failure before
    deciding on the verdict that shows it. `actions` are the installed ones,
    `capabilities` what the runtime can do: a rung that needs more is skipped, and
    `hand_over`, the command by which another could, is named.
    """
    reach = Reach(actions, capabilities, policy.unnamed, hand_over)
    answer = _answer(policy, verdict, history, now, reach, situation)
    if answer.choice is Choice.ACT and not policy.acts(answer.rule):
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
        rule=answer.rule.name if answer.rule else None,
        rung=answer.rung,
        attempt=answer.attempt,
        attempts=answer.attempts,
        since_seq=_since(verdict, answer, history),
        action=step.action if step else None,
        params=step.params.model_dump(mode="json", exclude={"attempts"}) if step else {},
        skipped=answer.skipped,
        limit=answer.limit,
    )


def _since(verdict: Verdict, answer: Answer, history: History) -> int:
    """Where the failure began on which the ladder goes on, by the step before."""
    if answer.rule is None or not answer.rung:
        return 0
    last = history.last_of_failure(answer.rule.name, verdict.agent_id, verdict.key)
    if last is None or last.outcome is None or last.outcome.status is not OutcomeStatus.FAILED:
        return 0
    before = last.decision
    if before.verdict.transcript != verdict.transcript:
        return 0
    return min(verdict.onset_seq, before.since_seq or before.verdict.onset_seq)


def _answer(
    policy: Policy,
    verdict: Verdict,
    history: History,
    now: datetime,
    reach: Reach,
    situation: Situation,
) -> Answer:
    if verdict.detector == LIMITS:
        spent = _limited(policy, verdict, None, history, now, reach, situation)
        return spent or Answer(Choice.NO_RULE, "no limit is reached any more")
    if situation.gone:
        return Answer(Choice.NO_RULE, "its subagent was stopped: this was found late")
    rules = (rule for rule in policy.rules if misses(rule, verdict, situation, now) is None)
    rule = next(rules, None)
    if rule is None:
        return Answer(Choice.NO_RULE, _no_rule(policy, verdict, situation, now))
    return (
        _waiting(rule, verdict, history)
        or _cooling(rule, verdict, history, now)
        or _limited(policy, verdict, rule, history, now, reach, situation)
        or climb(rule, verdict, history, now, reach, situation)
    )


def _no_rule(policy: Policy, verdict: Verdict, situation: Situation, now: datetime) -> str:
    near = [
        f"{rule.name!r} {misses(rule, verdict, situation, now)}"
        for rule in policy.rules
        if verdict.failure_mode in rule.on
    ]
    return f"no rule matches: {'; '.join(near) or f'none is for {verdict.failure_mode}'}"


def _waiting(rule: Rule, verdict: Verdict, history: History) -> Answer | None:
    # Another rule's action may act on what follows an action, but not come between it and
    # its effect.
    newest = history.last_of_agent(verdict.agent_id)
    same = history.last_of_rule(rule.name, verdict.agent_id)
    stops = verdict.failure_mode is FailureMode.STOP  # what is still to be shown never will be
    if newest and newest.outcome is None and not newest.in_effect and not stops:
        last = newest
    elif same is not None and same.outcome is None:
        last = same
    else:
        return None
    reason = f"waiting for what comes of {last.decision.action}, decided at {last.decision.seq}"
    return Answer(Choice.WAITING, reason, rule)


def _cooling(rule: Rule, verdict: Verdict, history: History, now: datetime) -> Answer | None:
    last = history.last_of_rule(rule.name, verdict.agent_id)
    if last is None or rule.cooldown is None or last.came_to_nothing:
        return None
    left = left_of(rule.cooldown, verdict.seq - last.decision.seq, now - last.decision.at)
    if left is None:
        return None
    reason = f"{rule.name!r} cools down for another {left} after {last.decision.action}"
    return Answer(Choice.COOLDOWN, reason, rule)


def _limited(
    policy: Policy,
    verdict: Verdict,
    rule: Rule | None,
    history: History,
    now: datetime,
    reach: Reach,
    situation: Situation,
) -> Answer | None:
    """What the first limit that is reached says; None where none is. An agent that is about
    to stop costs no more."""
    if verdict.failure_mode is FailureMode.STOP:
        return None
    for name, reason, then in _reached(policy, verdict, history, now, situation):
        if then is None:
            return Answer(Choice.EXHAUSTED, reason, rule, limit=name)
        done = history.last_of_limit(name)
        failed = done is not None and done.outcome and done.outcome.status is OutcomeStatus.FAILED
        if done is not None and not failed and _holds_for_good(policy, name):
            reason = f"{reason}, which {then.action} at {done.decision.seq} answered"
            return Answer(Choice.EXHAUSTED, reason, rule, limit=name)
        if skipped := reach.skip(then):
            reason = f"{reason}, and {then.action} is out of reach"
            return Answer(Choice.EXHAUSTED, reason, rule, skipped=(skipped,), limit=name)
        reason = f"{reason}: {then.action}"
        return Answer(Choice.ACT, reason, rule, step=then, limit=name)
    return None


def _holds_for_good(policy: Policy, name: str) -> bool:
    """Whether a limit that is reached stays so: its action is taken once then."""
    limit = getattr(policy.limits, name)
    return not isinstance(limit, Limit) or limit.per is None


def _reached(
    policy: Policy, verdict: Verdict, history: History, now: datetime, situation: Situation
) -> Iterator[tuple[str, str, Rung | None]]:
    """The limits that are reached: a name, a reason and what is to be done then."""
    limits = policy.limits
    if limits.cost_usd is not None and situation.cost_usd >= limits.cost_usd.max:
        spent = f"the budget of ${limits.cost_usd.max:g} is spent (${situation.cost_usd:.2f})"
        yield "cost_usd", spent, limits.cost_usd.then
    if limits.tokens is not None and situation.tokens >= limits.tokens.max:
        spent = f"the budget of {limits.tokens.max:,.0f} tokens is spent ({situation.tokens:,})"
        yield "tokens", spent, limits.tokens.then
    interrupted = verdict.failure_mode is FailureMode.INTERRUPTION
    name = "resumptions" if interrupted else "interventions"
    limit = limits.resumptions if interrupted else limits.interventions
    if limit is None or verdict.detector == LIMITS:
        return
    oldest = history.time_of(limit.max, interruptions=interrupted)
    if oldest is None or (limit.per is not None and now - oldest >= limit.per):
        return
    span = "in this session" if limit.per is None else f"in {duration_text(limit.per)}"
    yield name, f"the limit of {limit.max} {name} {span} is reached", limit.then


def _identity(verdict: Verdict, answer: Answer) -> str:
    """The same for the same verdict, rule, choice and rung, on every host and on replay."""
    step = () if answer.attempt == 1 and not answer.rung else (answer.rung, answer.attempt)
    rule = answer.rule.name if answer.rule else None
    return _id(verdict, rule, answer.choice, *map(str, step))


def ordered(verdict: Verdict, now: datetime, action: str, reason: str) -> Decision:
    """The decision to carry out `action`, with its defaults, because a person says so."""
    return Decision(
        id=_id(verdict, None, Choice.ACT, now.isoformat()),
        session_id=verdict.session_id,
        seq=verdict.seq,
        at=now,
        verdict=verdict,
        choice=Choice.ACT,
        reason=reason,
        action=action,
    )


def _id(verdict: Verdict, rule: str | None, choice: Choice, *step: str) -> str:
    """A decision's id."""
    parts = (verdict.session_id, verdict.id, rule or "-", choice, *step)
    # A key may quote the agent, whose text may hold half a character.
    text = "\0".join(parts).encode(errors="surrogatepass")
    return blake2b(text, digest_size=10).hexdigest()
