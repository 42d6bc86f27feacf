"""`Tail`: the facts of an interrupted turn that its diagnosis rests on.

Read from the entries since the turn's prompt, the intents and the failure. A call counts
as begun if its intent was written, since the hook that writes it is awaited.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from supervisor.core.checkpoint import Checkpoints
from supervisor.core.entry import (
    SYNTHETIC_MODEL,
    ApiError,
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.core.intent import Intent
from supervisor.core.interruption import Failure, FailureKind, Fate, LostCall, Sent
from supervisor.runtime.aftermath import may_write

__all__ = ["Tail"]

_INTERRUPTED = "[Request interrupted by user"
_REFUSED = "The user doesn't want to proceed with this tool use."
_BACKGROUND = ("Async agent launched", "Command running in background")
"""How the runtime begins what it writes of an interrupt, into an interrupted call's result,
and into the result of a call that goes on in the background (CLI 2.1.330)."""
_DELEGATES = ("Agent", "Task")
"""The tools that start a subagent; it is named in what they return, and in its report."""


@dataclass(frozen=True)
class Tail:
    """What is known of the turn; `of` finds it out."""

    failure: Failure | None
    prompt: Prompt | None
    """What began the turn; None where it does not stand in the transcript."""
    steps: tuple[Entry, ...]
    """The main agent's entries after the prompt that are steps of the conversation."""
    transcript: tuple[Entry, ...]
    """All of the main agent's entries that were given."""
    in_doubt: tuple[LostCall, ...]
    not_run: tuple[LostCall, ...]
    agents_cut_off: tuple[str, ...]

    @classmethod
    def of(
        cls,
        entries: Sequence[Entry],
        intents: Sequence[Intent],
        failure: Failure | None,
        sent: Sent | None,
    ) -> Tail:
        """See `diagnose` for the arguments."""
        main = tuple(_main(entries))
        prompt = _opening(main, sent)
        begins = prompt.seq if prompt is not None else _after(entries)
        turn = [entry for entry in entries if entry.seq >= begins]
        steps = _steps(entry for entry in main if entry.seq > begins)
        agents = _unfinished(turn)
        lost = _Calls(turn, _intents_of(prompt, intents, main)).lost()
        if failure is not None and failure.process_lives and not _any_of_main(lost):
            # What works in the background goes on in the process.
            agents, lost = (), []
        return cls(
            failure=failure,
            prompt=prompt,
            steps=tuple(steps),
            transcript=main,
            in_doubt=tuple(call for call in lost if call.fate is not Fate.NOT_RUN),
            not_run=tuple(call for call in lost if call.fate is Fate.NOT_RUN),
            agents_cut_off=agents,
        )

    @property
    def kind(self) -> FailureKind | None:
        """What ended the turn, if anybody saw it."""
        return self.failure.kind if self.failure is not None else None

    @property
    def result(self) -> Failure | None:
        """The failure, where it is a result."""
        return self.failure if self.kind is FailureKind.RESULT else None

    @property
    def last(self) -> Entry | None:
        """The last step."""
        return self.steps[-1] if self.steps else None

    @property
    def error(self) -> ApiError | None:
        """The failed model call that ended the turn."""
        return self.last if isinstance(self.last, ApiError) else None

    @property
    def call_failed(self) -> bool:
        """Whether a model call failed, as far as anybody said."""
        if self.result is not None and self.result.is_error:
            return True
        return self.error is not None or self.kind is FailureKind.RETRYING

    @property
    def status(self) -> int | None:
        """The HTTP status of the failed model call."""
        if self.failure is not None and self.failure.status is not None:
            return self.failure.status
        return self.error.status if self.error is not None else None

    @property
    def not_before(self) -> datetime | None:
        """When the next model call is allowed or due, where that was said."""
        if self.error is not None and self.error.not_before is not None:
            return self.error.not_before
        return self.failure.not_before if self.failure is not None else None

    @property
    def text(self) -> str:
        """What was said of the failure."""
        if self.error is not None and self.error.message:
            return self.error.message
        return self.failure.text if self.failure is not None else ""

    @property
    def has_output(self) -> bool:
        """Whether something of the model's answer stands in the transcript."""
        return any(isinstance(step, Text | Thinking | ToolCall) for step in self.steps)

    @property
    def is_finished(self) -> bool:
        """Whether the turn's last word stands in the transcript and nothing is at work."""
        if self.in_doubt or self.agents_cut_off:
            return False
        if self.call_failed:
            return False
        return isinstance(self.last, Text) and self.last.stop_reason == "end_turn"

    @property
    def was_interrupted(self) -> bool:
        """Whether the runtime wrote down that somebody interrupted the turn, and nobody
        says why."""
        if self.kind not in {None, FailureKind.WORKER_DIED, FailureKind.PROCESS}:
            return False
        return isinstance(self.last, Prompt) and self.last.text.startswith(_INTERRUPTED)

    @property
    def answer(self) -> str:
        """The text of the last message."""
        last = self.last
        if not isinstance(last, Text):
            return ""
        texts = [step for step in self.steps if isinstance(step, Text)]
        parts = [text.text for text in texts if text.message_id == last.message_id]
        return "\n".join(parts if last.message_id else [last.text])

    def broken_pair(self) -> int | None:
        """Where the first call without a result stands; else the last call, whose message
        is the nearest that can be at fault."""
        results = {entry.call_id for entry in self.transcript if isinstance(entry, ToolResult)}
        calls = [entry for entry in self.transcript if isinstance(entry, ToolCall)]
        orphans = [call.seq for call in calls if call.call_id not in results]
        return next(iter(orphans), calls[-1].seq if calls else None)

    def largest(self) -> int | None:
        """Where the largest tool result stands; the last one, of several."""
        results = [entry for entry in self.transcript if isinstance(entry, ToolResult)]
        largest = max(results, key=lambda entry: (len(entry.text), entry.seq), default=None)
        return largest.seq if largest is not None else None

    def left_behind(self, fork_before: int) -> tuple[LostCall, ...]:
        """The calls that ran to their end and that a fork there leaves out."""
        checkpoints = Checkpoints()
        for entry in self.transcript:
            checkpoints.observe(entry)
        kept = checkpoints.before(fork_before)
        dropped = [e for e in self.transcript if kept is None or e.seq > kept.seq]
        results = {entry.call_id for entry in dropped if isinstance(entry, ToolResult)}
        in_doubt = {call.call_id for call in self.in_doubt}
        return tuple(
            _lost(entry, Fate.OUT_OF_SIGHT)
            for entry in dropped
            if isinstance(entry, ToolCall) and entry.call_id in results - in_doubt
        )


class _Calls:
    """The tool calls of a turn, what came of them and which were written down before."""

    def __init__(self, turn: Sequence[Entry], intents: Sequence[Intent]) -> None:
        calls = [entry for entry in turn if isinstance(entry, ToolCall)]
        self._calls = {call.call_id: call for call in calls}
        self._results = {e.call_id: e for e in turn if isinstance(e, ToolResult)}
        self._intents = {intent.call_id: intent for intent in intents}
        self._reports = [
            entry.text
            for entry in turn
            if isinstance(entry, Prompt) and entry.origin is Origin.TASK
        ]
        self._heard = self._heard_of({entry.agent_id for entry in turn} - {None})
        self._written_ahead = all(
            result.is_error or call_id in self._intents for call_id, result in self._results.items()
        )

    def lost(self) -> list[LostCall]:
        """Those without a result to rely on: first those written down, as they began; last
        those that subagents brought to an end."""
        known = dict.fromkeys((*self._intents, *self._calls))
        fates = {call_id: self._fate(call_id) for call_id in known}
        lost = [
            _lost(self._intents.get(call_id) or self._calls[call_id], fate)
            for call_id, fate in fates.items()
            if fate is not None
        ]
        return sorted(lost, key=lambda call: call.fate is Fate.UNREPORTED)

    def _heard_of(self, agents: set[str | None]) -> set[str | None]:
        """The agents whose results the model knows: its own, and those of the subagents that
        have reported to it, be it by way of another."""
        ended = [
            (result.agent_id, result.text)
            for call_id, result in self._results.items()
            if call_id in self._calls
            and self._calls[call_id].tool in _DELEGATES
            and not result.text.startswith((_REFUSED, *_BACKGROUND))
        ]
        told = [*ended, *((None, report) for report in self._reports)]
        heard: set[str | None] = {None}
        while more := {
            agent
            for agent in agents - heard
            if any(to in heard and str(agent) in text for to, text in told)
        }:
            heard |= more
        return heard

    def _is_heard_of(self, call_id: str) -> bool:
        call = self._calls.get(call_id)
        return call is None or call.agent_id in self._heard or not may_write(call.tool)

    def _fate(self, call_id: str) -> Fate | None:
        """None where its result says what came of it."""
        result = self._results.get(call_id)
        if result is not None and not result.text.startswith((_REFUSED, *_BACKGROUND)):
            return None if self._is_heard_of(call_id) else Fate.UNREPORTED
        if result is not None and result.text.startswith(_BACKGROUND):
            reported = any(call_id in report for report in self._reports)
            return None if reported else Fate.IN_BACKGROUND
        if self._written_ahead and call_id not in self._intents:
            return Fate.NOT_RUN
        return Fate.UNKNOWN if result is None else Fate.CUT_OFF


def _lost(call: ToolCall | Intent, fate: Fate) -> LostCall:
    return LostCall(
        call_id=call.call_id, tool=call.tool, input=call.input, agent_id=call.agent_id, fate=fate
    )


def _any_of_main(lost: Iterable[LostCall]) -> bool:
    return any(call.agent_id is None and call.fate is not Fate.IN_BACKGROUND for call in lost)


def _main(entries: Sequence[Entry]) -> list[Entry]:
    """The main agent's entries of its newest transcript."""
    main = [entry for entry in entries if entry.agent_id is None]
    return [entry for entry in main if entry.transcript == main[-1].transcript]


def _steps(entries: Iterable[Entry]) -> list[Entry]:
    """Entries that are steps of the conversation."""
    return [
        entry
        for entry in entries
        if not isinstance(entry, Notice | Unknown)
        and not (isinstance(entry, Text) and entry.model == SYNTHETIC_MODEL)
    ]


def _opening(main: Sequence[Entry], sent: Sent | None) -> Prompt | None:
    """The prompt that began the last turn, provided that it is the one that was sent.

    A prompt that was typed while the agent was at work belongs to the same turn."""
    prompts = [
        entry
        for entry in main
        if isinstance(entry, Prompt) and entry.origin in {Origin.USER, Origin.LUCID}
    ]
    if not prompts:
        return None
    turn = [prompt for prompt in prompts if prompt.turn == prompts[-1].turn]
    if sent is None or any(_is(prompt, sent) for prompt in turn):
        return turn[0]
    return None


def _is(prompt: Prompt, sent: Sent) -> bool:
    if sent.uuid is not None:
        return prompt.uuid == sent.uuid
    return prompt.text.strip() == sent.text.strip()


def _after(entries: Sequence[Entry]) -> int:
    return max((entry.seq for entry in entries), default=0) + 1


def _intents_of(
    prompt: Prompt | None, intents: Sequence[Intent], main: Sequence[Entry]
) -> list[Intent]:
    """The intents of the turn, which may be in the store before its prompt is. Their times
    and the entries' are by one clock, that of the worker that ran the turn."""
    earlier = [entry for entry in main if prompt is None or entry.seq < prompt.seq]
    known = {entry.call_id for entry in earlier if isinstance(entry, ToolCall)}
    marks = [prompt] if prompt is not None else earlier[-1:]
    begins = next((mark.at for mark in marks), None)
    return [
        intent
        for intent in intents
        if intent.call_id not in known and (begins is None or intent.at >= begins)
    ]


def _unfinished(turn: Sequence[Entry]) -> tuple[str, ...]:
    last: dict[str, Entry] = {}
    for step in _steps(entry for entry in turn if entry.agent_id is not None):
        last[str(step.agent_id)] = step
    return tuple(
        agent_id
        for agent_id, step in last.items()
        if not (isinstance(step, Text) and step.stop_reason == "end_turn")
    )
