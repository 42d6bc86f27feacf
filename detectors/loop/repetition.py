"""The same calls again: alone, in rounds, or whatever they answer."""

from __future__ import annotations

from collections import deque

import msgspec

from detectors.loop.calls import Call
from detectors.loop.config import LoopConfig
from detectors.loop.finding import EXCERPT, Finding, identity
from detectors.loop.rounds import Rounds
from detectors.loop.steps import Past, Step
from supervisor.core.entry import ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Fact

__all__ = ["Repetition", "facts_of"]

_RECENT = 12
"""Steps remembered in order, to point at and to quote."""
_LABEL = 100
"""Bytes of arguments that a step of a round is quoted with."""


class _Ran(msgspec.Struct, frozen=True, gc=False):
    """What is kept of a step."""

    digest: bytes
    seqs: tuple[int, int]
    tool: str
    arguments: bytes
    waits: bool

    @property
    def label(self) -> str:
        """Tool and arguments, for a person."""
        return f"{self.tool} {self.arguments.decode(errors='ignore')}"


class Repetition:
    """Looks at how often a step's call has come, and at the steps before it."""

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._rounds: Rounds[int] = Rounds(config.longest_cycle)
        self._recent: deque[_Ran] = deque(maxlen=max(_RECENT, config.longest_cycle))
        self._stale: list[int] = []
        """Entries of the steps in a row that brought nothing new."""
        self._stale_onset: Call | None = None
        self._stale_steps = 0

    def take(self, step: Step, past: Past, result: ToolResult) -> Finding | None:
        """What the step, with its call's past, completes."""
        self._rounds.add(step.token, step.call.seq, step.known)
        self._remember(step)
        self._count_stale(step)
        varied = self._varied(step, past, result)
        if (self._rounds.period() or 1) > 1:
            return self._round() or varied
        return self._identical(step, past, result) or varied or self._nothing_new(step, result)

    def _remember(self, step: Step) -> None:
        call, seqs = step.call, (step.call.seq, step.seq)
        self._recent.append(_Ran(call.digest, seqs, call.tool, call.arguments[:_LABEL], step.waits))

    def _round(self) -> Finding | None:
        current = self._rounds.current()
        if current is None:
            return None
        length, rounds, onset = current
        steps = list(self._recent)[-length:]
        needed = self._needed(any(step.waits for step in steps))
        if rounds < needed:
            return None
        tools = one_line(", ".join(step.tool for step in steps), EXCERPT)
        return Finding(
            pattern="cycle",
            identity=identity([step.digest for step in steps]),
            summary=f"A round of {length} calls ({tools}) ran {rounds} times over.",
            repetitions=rounds,
            needed=needed,
            onset_seq=onset,
            seqs=self._seqs({step.digest for step in steps}),
            facts={"steps": tuple(step.label for step in steps)},
        )

    def _identical(self, step: Step, past: Past, result: ToolResult) -> Finding | None:
        if not step.known:
            return None
        needed = self._needed(step.waits)
        runs, onset, between = past.without_news, past.without_news_seq, "nothing new"
        if runs < needed:
            runs, onset, between = past.without_change, past.without_change_seq, "nothing changed"
            if not step.is_error:
                needed = max(needed, self._config.fruitless)
        if runs < needed:
            return None
        outcome = "failed the same way" if step.is_error else "returned the same"
        said = f"{outcome} {runs} times, with {between} in between"
        return self._of_call("identical", said, runs, needed, onset, step, result)

    def _varied(self, step: Step, past: Past, result: ToolResult) -> Finding | None:
        """The same call, whatever it answered, where one run should have been enough."""
        needed = self._needed(step.waits) + 1
        if step.call.edits and past.runs >= needed:
            runs, said = past.runs, f"made the same edit {past.runs} times"
        elif past.failures >= needed:
            runs, said = past.failures, f"failed {past.failures} times, in different words"
        else:
            return None
        return self._of_call("varied", said, runs, needed, past.second_seq, step, result)

    def _nothing_new(self, step: Step, result: ToolResult) -> Finding | None:
        """Steps on end whose every answer was there before, in no order."""
        if self._stale_steps < self._config.fruitless or self._stale_onset is None:
            return None
        onset = self._stale_onset
        return Finding(
            pattern="nothing new",
            identity=onset.digest.hex(),
            summary=f"{self._stale_steps} calls on end got answers that were there before.",
            repetitions=self._stale_steps,
            needed=self._config.fruitless,
            onset_seq=onset.seq,
            seqs=tuple(self._stale),
            facts=facts_of(step, result),
        )

    def _count_stale(self, step: Step) -> None:
        if not step.known:
            self._stale_steps = 0
        elif not step.waits:
            if self._stale_steps == 0:
                self._stale, self._stale_onset = [], step.call
            self._stale_steps += 1
            self._stale = [*self._stale[-6:], step.call.seq, step.seq]

    def _needed(self, waits: bool) -> int:
        return self._config.waiting_repeats if waits else self._config.repeats

    def _of_call(
        self,
        pattern: str,
        said: str,
        runs: int,
        needed: int,
        onset: int,
        step: Step,
        result: ToolResult,
    ) -> Finding:
        return Finding(
            pattern=pattern,
            identity=step.call.digest.hex(),
            summary=f"{one_line(step.call.tool, EXCERPT)} {said}.",
            repetitions=runs,
            needed=needed,
            onset_seq=onset,
            seqs=(*self._seqs({step.call.digest}), onset),
            facts=facts_of(step, result),
        )

    def _seqs(self, digests: set[bytes]) -> tuple[int, ...]:
        return tuple(seq for step in self._recent if step.digest in digests for seq in step.seqs)


def facts_of(step: Step, result: ToolResult) -> dict[str, Fact]:
    """The call and what came back, bounded."""
    return {
        "tool": step.call.tool,
        "arguments": step.call.arguments.decode(errors="ignore"),
        "result": result.text[:EXCERPT],
        "is_error": step.is_error,
    }
