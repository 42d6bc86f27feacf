"""What is known of each call: its answers, and how often each of them came back."""

from __future__ import annotations

import msgspec

from detectors.loop.answers import exact_mark, is_passing, is_short, stable_mark
from detectors.loop.calls import Call
from supervisor.core.entry import ToolResult

__all__ = ["Answer", "Memory", "Past", "Step"]

_CALLS = 24
"""Calls remembered, the least recently seen dropped first; bounds memory."""
_OLDER = 2
"""Earlier answers of a call that are known when they come again."""


class Step(msgspec.Struct, frozen=True, gc=False):
    """A call and what came back."""

    call: Call
    seq: int
    is_error: bool
    token: int
    """The same for the same call with the same answer, and for nothing else."""
    known: bool
    """The call has had this answer before."""
    changed: bool
    """It shows the world moving: a write, or a known call that answers differently."""
    waits: bool
    """That nothing has changed yet is no failure: the call waits for something, a wait
    came before it, or its error is one that passes."""


class Answer(msgspec.Struct, frozen=True, gc=False):
    """An answer that a call had."""

    mark: int
    exact: bool
    """Whether the mark is of the text as it stands, or without what changes by itself."""
    token: int

    def is_that_of(self, result: ToolResult) -> bool:
        """Whether the result is this answer."""
        return self.mark == (exact_mark(result) if self.exact else stable_mark(result))


class Past(msgspec.Struct, gc=False):
    """A call's runs since the user last spoke."""

    answer: Answer
    """The last one."""
    at: int = 0
    """The last run's number among all steps."""
    older: tuple[Answer, ...] = ()
    runs: int = 0
    """Whatever they answered."""
    second_seq: int = 0
    """The call of the second run, the first one that was needless."""
    failures: int = 0
    """Errors in a row with no change in between, whatever they said."""
    without_news: int = 1
    """Runs in a row with the same answer, and nothing new in between."""
    without_news_seq: int = 0
    without_change: int = 1
    """The same, with no change in between."""
    without_change_seq: int = 0


class Memory:
    """The calls of one agent since its user last spoke.

    A call *repeats* where its answer is that of its last run. Any other step is *news*,
    and news that shows the world moving is a *change*.
    """

    def __init__(self) -> None:
        self._past: dict[bytes, Past] = {}
        self._count = 0
        self._tokens = 0
        self._news_at = 0
        self._changed_at = 0
        self._waited_at = 0

    def take(self, call: Call, result: ToolResult) -> tuple[Step, Past]:
        """Complete a step."""
        self._count += 1
        past = self._past.pop(call.digest, None)
        before = past.at if past is not None else self._count
        if past is None:
            past, known = Past(self._answer(result, exactly=not is_short(result))), False
            changed = call.changes and not result.is_error
        elif past.answer.is_that_of(result):
            known, changed = True, False
            self._repeat(past, call)
        else:
            known = self._answer_anew(past, result)
            # To fail in yet another way is news, but shows no world that moves.
            changed = not (result.is_error and past.failures)
        self._run(past, call, result)
        if not (known and not changed):
            self._news_at = self._count
        if changed:
            self._changed_at = self._count
        waits = call.waits or before < self._waited_at or is_passing(result)
        if call.waits:
            self._waited_at = self._count
        token = past.answer.token
        return Step(call, result.seq, result.is_error, token, known, changed, waits), past

    def _answer(self, result: ToolResult, *, exactly: bool) -> Answer:
        self._tokens += 1
        mark = exact_mark(result) if exactly else stable_mark(result)
        return Answer(mark, exactly, self._tokens)

    def _repeat(self, past: Past, call: Call) -> None:
        past.without_news = past.without_news + 1 if past.at >= self._news_at else 1
        if past.without_news == 2:
            past.without_news_seq = call.seq
        past.without_change = past.without_change + 1 if past.at >= self._changed_at else 1
        if past.without_change == 2:
            past.without_change_seq = call.seq

    def _answer_anew(self, past: Past, result: ToolResult) -> bool:
        """Put another answer in the last one's place; whether it is an older one."""
        again = next((one for one in past.older if one.is_that_of(result)), None)
        past.older = (past.answer, *(one for one in past.older if one is not again))[:_OLDER]
        past.answer = again or self._answer(result, exactly=False)
        past.without_news = past.without_change = 1
        return again is not None

    def _run(self, past: Past, call: Call, result: ToolResult) -> None:
        if not result.is_error:
            past.failures = 0
        else:
            past.failures = past.failures + 1 if past.at >= self._changed_at else 1
        past.at = self._count
        past.runs += 1
        if past.runs == 2:
            past.second_seq = call.seq
        self._past[call.digest] = past
        if len(self._past) > _CALLS:
            del self._past[next(iter(self._past))]
