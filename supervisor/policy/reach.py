"""What of a policy can be done at all where it is to be used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Skipped
from supervisor.core.verdict import RUNTIME_MODES, FailureMode, Verdict
from supervisor.policy.ladder import Reach
from supervisor.policy.model import Policy, Rule, Rung

__all__ = ["CAPABILITIES", "OutOfReach", "RunMode", "capabilities_for", "out_of_reach"]


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


_BY_HOOKS = frozenset(
    {
        "add_context",
        "ask",
        "deny_calls",
        "notify",
        "pause",
        "prompt",
        "refuse_stop",
        "stop",
        "stop_subagent",
    }
)
_BY_PROCESS = frozenset({"branch", "mask_results", "resume", "restart", "switch"})

CAPABILITIES: Mapping[RunMode, frozenset[Capability]] = {
    RunMode.WRAPPER: frozenset(Capability),
    RunMode.TRANSPORT: frozenset(one for one in Capability if one not in _BY_PROCESS),
    RunMode.SIDECAR: frozenset(one for one in Capability if one in _BY_HOOKS),
    RunMode.AUDIT: frozenset(),
}
"""What can be done to the main agent at the most. What can be done just then is the running
agent's to say: a subagent is out of reach for most of it, and so is an agent in an outage."""

_ON_SUBAGENTS = frozenset({"add_context", "deny_calls", "stop_subagent", "notify"})
_IN_OUTAGES = frozenset({"resume", "branch", "restart", "switch", "stop", "pause", "notify"})
_NOT_AT_A_STOP = frozenset({"resume", "stop_subagent", "add_context"})
_NOT_AT_WORK = frozenset({"resume", "stop_subagent", "refuse_stop"})


def capabilities_for(verdict: Verdict, mode: RunMode) -> frozenset[Capability]:
    """What can be done, at the most, to the agent of a verdict like this one."""
    return _capabilities(verdict.failure_mode, mode, subagent=verdict.agent_id is not None)


def _capabilities(failure: FailureMode, mode: RunMode, *, subagent: bool) -> frozenset[Capability]:
    found = CAPABILITIES[mode]
    if subagent:
        return frozenset(one for one in found if one in _ON_SUBAGENTS)
    if failure is FailureMode.INTERRUPTION:
        return frozenset(one for one in found if one in _IN_OUTAGES)
    lacking = _NOT_AT_A_STOP if failure is FailureMode.STOP else _NOT_AT_WORK
    return frozenset(one for one in found if one not in lacking)


@dataclass(frozen=True)
class OutOfReach:
    """Something that a policy asks for in vain; as text, the sentence that says where."""

    said: str
    actions: tuple[str, ...]
    """Those that can never be taken there."""

    def __str__(self) -> str:
        return self.said


def out_of_reach(
    policy: Policy, mode: RunMode, *, actions: Mapping[str, type[Action]]
) -> Iterator[OutOfReach]:
    """What of the policy's ladders and limits can never run in this mode."""
    for rule in policy.rules:
        if rule.enabled and policy.acts(rule):
            yield from _of_ladder(rule, mode, list(_reaches(rule, policy, mode, actions)))
    reach = Reach(actions, CAPABILITIES[mode], policy.unnamed)
    for rule_of, place, rung in policy.rungs():
        if rule_of is None and (skipped := reach.skip(rung)):
            name = ".".join(map(str, place))
            said = f"{name}: {skipped.action} {skipped.reason} ({mode})"
            yield OutOfReach(said, (skipped.action,))


def _reaches(
    rule: Rule, policy: Policy, mode: RunMode, actions: Mapping[str, type[Action]]
) -> Iterator[Reach]:
    """What can be done to each kind of agent that the rule may be about."""
    kinds = {None: (False, True), "main": (False,)}.get(rule.agent, (True,))
    for failure in rule.on:
        for subagent in kinds:
            if not (subagent and failure in RUNTIME_MODES):
                found = _capabilities(failure, mode, subagent=subagent)
                yield Reach(actions, found, policy.unnamed)


def _of_ladder(rule: Rule, mode: RunMode, reaches: Sequence[Reach]) -> Iterator[OutOfReach]:
    about = f" on {rule.agent}" if rule.agent not in (None, "main") else ""
    # A step that says itself that it is optional is no news.
    said = [
        (n, _never(rung, reaches)) for n, rung in enumerate(rule.ladder, 1) if not rung.optional
    ]
    if said and all(passed for _, (_, passed) in said):
        unable = [one for _, (those, _) in said for one in those]
        lacks = "; ".join(f"{one.action} {one.reason}" for one in unable)
        yield OutOfReach(
            f"rule {rule.name!r}{about} can do nothing in the mode {mode}: {lacks}",
            tuple(one.action for one in unable),
        )
        return
    for number, (unable, passed) in said:
        for skipped in unable:
            what = "is passed over" if passed else "is not chosen"
            yield OutOfReach(
                f"rule {rule.name!r}{about}, rung {number}: {skipped.action} {what} in the mode "
                f"{mode}, it {skipped.reason}",
                (skipped.action,),
            )


def _never(rung: Rung, reaches: Sequence[Reach]) -> tuple[list[Skipped], bool]:
    """The step's actions that can never be taken, and whether those are all of them."""
    unable = []
    for option in rung.options:
        skips = [reach.skip(option) for reach in reaches]
        if (last := skips[-1] if skips else None) is not None and None not in skips:
            unable.append(last)
    return unable, len(unable) == len(rung.options)
