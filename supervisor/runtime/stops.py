"""`Stops`: the ends of an agent's turns, as far as the policy has a say in them.

An agent that is about to end its turn is no failure, but it is decided on like one: a rule
`on: stop` has its checks run, or a person asked, before the turn may end.
"""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.core.action import Capability
from supervisor.core.entry import LUCID_MARKER
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.sent import SentPrompt
from supervisor.core.text import one_line
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.ladder import Reach
from supervisor.policy.model import Policy, Rule, Rung
from supervisor.runtime import registry

__all__ = ["NOT_CHECKED", "Stops", "decides_on_stops"]

NOT_CHECKED = "the agent's turn ended without the checks that the policy asks for"


class Stops:
    """Whether the turn may end as reached, and which stop of which turn it is about."""

    def __init__(self, policy: Policy) -> None:
        self._checks = _checks(policy)
        self._turn = ""
        self._passed = 0
        self.unchecked = ""
        """Why the work is not known to be done; empty where it is, or nobody asks."""

    @property
    def key(self) -> str:
        """The same for a stop that is tried again, another for the next turn and for an agent
        that had leave to stop and went on by itself."""
        return f"{self._turn}/{self._passed}"

    def asked(self, prompt: SentPrompt) -> None:
        """A prompt went out. What Lucid says belongs to the turn that it is said in."""
        if not prompt.text.startswith(LUCID_MARKER):
            self._turn = prompt.uuid[:8]

    def turn_began(self, turn: str = "") -> None:
        """What was checked before is not what will be there. `turn` tells it from others,
        where no prompt of ours does."""
        self._turn = turn[:8] or self._turn
        self.unchecked = NOT_CHECKED if self._checks else ""

    def settled(self, outcome: Outcome) -> None:
        """Take the outcome of an action on a stop."""
        if outcome.status is OutcomeStatus.CLEARED:
            self.unchecked = ""
            self._passed += 1
        elif outcome.status is OutcomeStatus.FAILED and self.unchecked:
            self.unchecked = f"not verified: {outcome.reason}"

    def verdict(
        self, session_id: str, transcript: str, *, seq: int, onset: int, said: str
    ) -> Verdict:
        """That the main agent is about to end the turn which began at the entry `onset`;
        `said` are its last words."""
        return Verdict(
            session_id=session_id,
            transcript=transcript,
            seq=seq,
            onset_seq=onset,
            detector="stop",
            failure_mode=FailureMode.STOP,
            severity=Severity.INFO,
            confidence=1.0,
            summary="The agent is about to end its turn.",
            evidence=Evidence(entries=(seq,), facts={"said": one_line(said, 200)}),
            key=self.key,
        )


def decides_on_stops(policy: Policy) -> bool:
    """Whether the policy has a say in the end of a turn."""
    return any(True for _ in _on_stops(policy))


def _checks(policy: Policy) -> bool:
    """Whether a rung of the policy says if the work is done."""
    actions = registry.actions()
    return any(
        Capability.REFUSE_STOP in actions[option.action].needs
        for rule, option in _on_stops(policy)
        if rule.answers(FailureMode.STOP) and policy.acts(rule)
    )


def _on_stops(policy: Policy) -> Iterator[tuple[Rule, Rung]]:
    """What the policy has for stops and names somebody for, with its rule."""
    reach = Reach(registry.actions(), frozenset(Capability), policy.unnamed)
    for rule in policy.rules:
        if rule.enabled and FailureMode.STOP in rule.on:
            for rung in rule.ladder:
                yield from ((rule, option) for option in reach.split(rung)[0])
