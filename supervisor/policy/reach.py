"""What of a policy can be done at all where it is to be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import StrEnum

from supervisor.core.action import Action, Capability
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.policy.ladder import Reach
from supervisor.policy.model import Policy, Rule

__all__ = ["CAPABILITIES", "RunMode", "capabilities_for", "out_of_reach"]


class RunMode(StrEnum):
    """The ways to run an agent under supervision."""

    WRAPPER = "wrapper"
    """In a process of Lucid's: `SupervisedClient`, `lucid run`, `lucid worker`."""
    TRANSPORT = "transport"
    """As `wrapper`, with a transport of the caller's, which cannot be started anew."""
    SIDECAR = "sidecar"
    """Unmodified, beside Lucid, through its hooks."""
    AUDIT = "audit"
    """Not at all: old transcripts."""


_BY_HOOKS = frozenset({"add_context", "deny_calls", "refuse_stop", "notify"})
_BY_PROCESS = frozenset({"branch", "resume", "restart", "switch"})

CAPABILITIES: Mapping[RunMode, frozenset[Capability]] = {
    RunMode.WRAPPER: frozenset(Capability),
    RunMode.TRANSPORT: frozenset(one for one in Capability if one not in _BY_PROCESS),
    RunMode.SIDECAR: frozenset(one for one in Capability if one in _BY_HOOKS),
    RunMode.AUDIT: frozenset(),
}
"""What can be done to the main agent at the most. What can be done just then is the running
agent's to say: a subagent is out of reach for most of it, and so is an agent in an outage."""


def out_of_reach(
    policy: Policy, mode: RunMode, *, actions: Mapping[str, type[Action]]
) -> Iterator[str]:
    """What of the policy's ladders and limits can never run in this mode, in sentences."""
    reach = Reach(actions, CAPABILITIES[mode])
    for rule in policy.rules:
        if rule.enabled and policy.acts(rule):
            yield from _of_ladder(rule, mode, reach)
    for rule_of, place, rung in policy.rungs():
        if rule_of is None and (skipped := reach.skip(rung)):
            name = ".".join(map(str, place))
            yield f"{name}: {skipped.action} {skipped.reason} ({mode})"


def _of_ladder(rule: Rule, mode: RunMode, reach: Reach) -> Iterator[str]:
    split = [(rung, *reach.split(rung)) for rung in rule.ladder]
    if not any(able for _, able, _ in split):
        lacks = "; ".join(f"{one.action} {one.reason}" for _, _, unable in split for one in unable)
        yield f"rule {rule.name!r} can do nothing in the mode {mode}: {lacks}"
        return
    for number, (_, able, unable) in enumerate(split, 1):
        for skipped in unable:
            passed = "is passed over" if not able else "is not chosen"
            yield (
                f"rule {rule.name!r}, rung {number}: {skipped.action} {passed} in the mode "
                f"{mode}, it {skipped.reason}"
            )


_ON_SUBAGENTS = frozenset({"add_context", "deny_calls", "stop_subagent", "notify"})
_IN_OUTAGES = frozenset({"resume", "branch", "switch", "stop", "pause", "notify"})


def capabilities_for(verdict: Verdict, mode: RunMode) -> frozenset[Capability]:
    """What can be done, at the most, to the agent of a verdict like this one."""
    found = CAPABILITIES[mode]
    if verdict.agent_id is not None:
        return frozenset(one for one in found if one in _ON_SUBAGENTS)
    if verdict.failure_mode is FailureMode.INTERRUPTION:
        return frozenset(one for one in found if one in _IN_OUTAGES)
    stops = verdict.failure_mode is FailureMode.STOP
    return found - {Capability.RESUME} - (frozenset() if stops else {Capability.REFUSE_STOP})
