"""`VitalSigns`: how a session stands, kept up to date by what is read and recorded of it."""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from datetime import datetime
from operator import itemgetter

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import (
    Compaction,
    Entry,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    is_output,
)
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import RUNTIME_MODES, FailureMode, Verdict
from supervisor.metrics import Vitals
from supervisor.policy.model import Policy
from supervisor.runtime.outcomes import WINDOW

__all__ = ["VitalSigns", "Waste", "window_of"]

_WINDOWS = (200_000, 1_000_000)
"""Tokens of the windows there are; the first that holds what was measured is assumed."""
_INTERRUPTED = "[Request interrupted by user"
"""What Claude Code writes where a person ends a turn."""
_STEPS = 512
"""Model answers back to which it is known what a session had taken by then."""


def window_of(policy: Policy) -> int | None:
    """The context window that a policy names for the detector of full ones, in tokens."""
    config = policy.detectors.get("context_bloat")
    return getattr(config, "window_tokens", None)


class VitalSigns(Vitals):
    """Of one session. Each entry costs O(1)."""

    __slots__ = ("_held", "_left", "window")

    def __init__(self, window: int | None = None) -> None:
        super().__init__()
        self.window = window
        """Tokens that fit into the main agent's context; None: as `_WINDOWS` says."""
        self._left: dict[FailureMode, int] = {}
        self._held: dict[FailureMode, float] = {}
        """What failed when the turn was interrupted: it counts again where Lucid goes on."""

    def entry(self, entry: Entry, now: datetime) -> None:
        """Take the next entry that is the session's own."""
        self.progressed_at = now.timestamp()
        if isinstance(entry, ToolResult):
            if self._left:
                self._got_on()
        elif entry.agent_id is None:
            self._main(entry)

    def _main(self, entry: Entry) -> None:
        if isinstance(entry, Prompt):
            self._prompted(entry)
        elif isinstance(entry, Compaction):
            self.occupancy = 0.0
        elif isinstance(entry, Text | Thinking | ToolCall) and is_output(entry):
            self.turn_is_open = entry.stop_reason != "end_turn"
            if not self.turn_is_open:
                self._healed()
            if entry.usage is not None and entry.usage.context_tokens:
                self._fill(entry.usage.context_tokens + entry.usage.output_tokens)

    def _prompted(self, prompt: Prompt) -> None:
        if prompt.origin in (Origin.USER, Origin.LUCID):
            self.turn_is_open = True
            self.state = SessionState.RUNNING
        if prompt.origin is Origin.USER:
            self._healed()
        elif prompt.origin is Origin.LUCID:
            self.failing, self._held = self.failing | self._held, {}
        if prompt.text.startswith(_INTERRUPTED):
            self.turn_is_open = False
            self.failing, self._held = {}, self.failing | self._held

    def _fill(self, used: int) -> None:
        window = self.window or next((size for size in _WINDOWS if size >= used), used)
        if self.window is None and window > _WINDOWS[0]:
            self.window = window
        self.occupancy = used / window

    def stands(self, state: SessionState) -> None:
        """It was recorded how the session stands."""
        self.state = state
        if state is not SessionState.RUNNING:
            self.turn_is_open = False
        if state in (SessionState.PAUSED, SessionState.ABORTED):
            self._healed()

    def decided(self, decision: Decision) -> None:
        """A failure that some rule is about was found."""
        mode = decision.verdict.failure_mode
        if decision.choice is Choice.NO_RULE or mode is FailureMode.STOP:
            return
        self.failing.setdefault(mode, decision.at.timestamp())
        self._left[mode] = WINDOW

    def settled(self, outcome: Outcome) -> None:
        """It is known whether an action helped."""
        if outcome.status is OutcomeStatus.CLEARED:
            self._drop(outcome.failure_mode)

    def _got_on(self) -> None:
        for mode, left in list(self._left.items()):
            if left > 1:
                self._left[mode] = left - 1
            else:
                self._drop(mode)

    def _drop(self, mode: FailureMode) -> None:
        for kept in (self.failing, self._held, self._left):
            kept.pop(mode, None)

    def _healed(self) -> None:
        for kept in (self.failing, self._held, self._left):
            kept.clear()


class Waste:
    """Estimates the tokens that a session's failures took, each of them once."""

    def __init__(self) -> None:
        self._taken: deque[tuple[int, int]] = deque(maxlen=_STEPS)
        self._until = 0

    def took(self, seq: int, tokens: int, before: int) -> None:
        """Up to and with this entry, the session has taken so many tokens, up to the one
        before it so many."""
        if not self._taken:
            self._taken.append((seq - 1, before))
        self._taken.append((seq, tokens))

    def found(self, verdict: Verdict) -> int:
        """The tokens from the failure's onset to its verdict, without those that were told
        for another one."""
        if verdict.failure_mode in RUNTIME_MODES or not self._taken:
            return 0
        begin = max(verdict.onset_seq, self._until + 1)
        self._until = max(self._until, verdict.seq)
        return max(0, self._by(verdict.seq) - self._by(begin - 1)) if begin <= verdict.seq else 0

    def _by(self, seq: int) -> int:
        """What was taken up to and with an entry, as far back as that is known."""
        place = bisect_left(self._taken, seq + 1, key=itemgetter(0)) - 1
        return self._taken[max(place, 0)][1]
