"""Stalls: a turn is open, and nothing happens, or nothing comes of it.

It fires on

- *model*, *tool*, *subagent*: silence for too long, by who is to speak next. Any entry,
  progress reports included, is a sign of life. The runtime tells the time; a silence
  begins at the first tick after the last entry, and is told once.
- *no progress*: results in a row that failed, or that were known word for word. An empty
  result says nothing either way; a tool that writes, and a user's word, start anew.

Quiet: a turn that has ended or was interrupted, a question to the user, and tools that
answer at once or else wait for a permission (`Edit` and its like). A silent tool or
subagent may be at work, or wait for a permission: its confidence stays below what a
policy acts on.

It does not catch a model that hangs after a text without a stop reason, which looks like
its last word; nor work that makes new results and leads nowhere.

On the development half of the corpora, with the time told as in a live run: no model is
flagged in 153 Claude Code transcripts. The slowest of 6,403 answers took 155 s. Of 8,861
waits for a tool 4 took half an hour or longer, of which 2 were for an `Edit`. No progress
is found in 0 of 382 healthy sessions, in 1 failed mini-SWE run, in 2 of MIRAGE's 576
snapshots, and in 6 of 204 loop cases, all of them loops.
"""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from zlib import crc32

from pydantic import Field

from detectors._awaited import Awaited
from detectors._turns import INTERRUPTED
from detectors._verdicts import Place, place_of, verdict
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, Text, Thinking, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["Kind", "Stall", "StallConfig"]

_KNOWN_RESULTS = 48
"""Results remembered by a hash of their beginning; bounds memory."""
_COMPARED = 4_000
"""Characters of a result by which it is known again, besides its length."""
_EVIDENCE = 16
_LONGEST_NAME = 64

_NO_PROMPT = frozenset({"", "(no content)"})
"""What the runtime writes in a prompt's place, without asking the model."""
_OPENS = frozenset({Origin.USER, Origin.LUCID, Origin.AGENT, Origin.TASK})
_SUBAGENTS = frozenset({"Agent", "Task"})
_ASKS_A_PERSON = frozenset(
    {
        "AskUserQuestion",
        "Edit",
        "EnterPlanMode",
        "ExitPlanMode",
        "MultiEdit",
        "NotebookEdit",
        "Write",
    }
)
"""Tools that answer at once, or else wait for a person. The 7 longest silences of an open
`Edit` in the corpora's transcripts, up to 2 hours, all ended with an answer."""
_WRITES = re.compile(r"edit|write|create|update|insert|replace|patch", re.IGNORECASE)


class Kind(StrEnum):
    """What came to a halt; the fact `kind` of every verdict."""

    MODEL = "model"
    TOOL = "tool"
    SUBAGENT = "subagent"
    NO_PROGRESS = "no_progress"


_CONFIDENCE = {Kind.MODEL: 0.85, Kind.TOOL: 0.6, Kind.SUBAGENT: 0.6, Kind.NO_PROGRESS: 0.8}


class StallConfig(DetectorConfig):
    """How long is too long."""

    model_seconds: int = Field(900, ge=1)
    """Silence while the model is asked. The runtime's own limit on a stream is 10 minutes.
    Of 6,403 answers in the corpora's transcripts, the slowest took 155 s."""
    tool_seconds: int = Field(3_600, ge=1)
    """Silence of a tool call, progress reports counting as life. The longest the CLI lets a
    command run is 10 minutes; MCP tools may take longer, or wait for a permission."""
    subagent_seconds: int = Field(3_600, ge=1)
    """Silence of a parent while its subagent works; the subagent's own turn is watched too."""
    results: int = Field(12, ge=2)
    """Results in a row that failed or were known, from which there is no progress. The
    longest such run in 382 healthy sessions is 8."""


@dataclass(slots=True, frozen=True)
class _Call:
    tool: str
    seq: int


class Stall(Detector):
    """Finds open turns in which nothing happens, or nothing comes of what happens."""

    name = "stall"
    failure_mode = FailureMode.STALL
    Config = StallConfig
    config: StallConfig

    def __init__(self, config: StallConfig | None = None) -> None:
        super().__init__(config)
        self._last: Place | None = None
        self._turn_open = False
        self._silent_since: datetime | None = None
        self._told = False
        self._awaited = Awaited[_Call]()
        self._known = array("I")
        self._in_vain: list[int] = []
        self._times = 0

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Take a sign of life; judge each result, in constant time."""
        self._last, self._silent_since, self._told = place_of(entry), None, False
        match entry:
            case ToolCall():
                self._turn_open = True
                self._awaited.add(entry.call_id, _Call(entry.tool[:_LONGEST_NAME], entry.seq))
            case ToolResult():
                return self._result(entry)
            case Thinking():
                self._turn_open = True
            case Text():
                # Without a stop reason, it may be the last word: then nothing is to come.
                self._turn_open = entry.stop_reason == "tool_use" or bool(self._awaited)
            case Prompt():
                self._prompt(entry)
        return ()

    def _prompt(self, entry: Prompt) -> None:
        if entry.origin in _OPENS and entry.text[:_COMPARED].strip() not in _NO_PROMPT:
            self._turn_open = True
        elif entry.text.startswith(INTERRUPTED):
            self._turn_open = False
            self._awaited.clear()
        if entry.origin in {Origin.USER, Origin.LUCID}:
            self._progress()

    def _progress(self) -> None:
        self._times = 0
        self._in_vain = []

    def _result(self, entry: ToolResult) -> Iterable[Verdict]:
        call = self._awaited.pop(entry.call_id)
        self._turn_open = True
        if not entry.is_error and not entry.text[:_COMPARED].strip():
            return ()  # says nothing either way
        mark = crc32(entry.text[:_COMPARED].encode(errors="replace"), len(entry.text))
        known = mark in self._known
        if known:
            self._known.remove(mark)
        self._known.append(mark)
        del self._known[:-_KNOWN_RESULTS]
        if not entry.is_error and (not known or (call and _WRITES.search(call.tool))):
            self._progress()
            return ()
        self._times += 1
        self._in_vain = [*self._in_vain, call.seq if call else entry.seq]
        if self._times % self.config.results:
            self._in_vain = self._in_vain[:1] + self._in_vain[1:][-_EVIDENCE:]
            return ()
        said = f"{self._times} results in a row failed or told nothing new."
        onset, entries = self._in_vain[0], (*self._in_vain[-_EVIDENCE:], entry.seq)
        return (self._verdict(Kind.NO_PROGRESS, entry, onset, entries, said, self._times),)

    def tick(self, now: datetime) -> Iterable[Verdict]:
        """Judge the silence, which begins at the first tick after the last entry: an old
        transcript that is resumed was not silent all the while."""
        if not self._turn_open or self._told or self._last is None:
            return ()
        if self._silent_since is None:
            self._silent_since = now
            return ()
        waits = self._waits_for()
        if waits is None:
            return ()
        kind, call = waits
        silent = now - self._silent_since
        if silent < timedelta(seconds=self._limits()[kind]):
            return ()
        self._told = True
        seconds = int(silent.total_seconds())
        tool = one_line(call.tool, _LONGEST_NAME) if call else ""
        whom = f"{tool}, called at entry {call.seq}," if call else "The model"
        said = f"{whom} has been silent for {seconds // 60} minutes."
        onset = call.seq if call else self._last.seq
        entries = (onset, self._last.seq)
        return (self._verdict(kind, self._last, onset, entries, said, seconds, tool),)

    def _limits(self) -> dict[Kind, int]:
        return {
            Kind.MODEL: self.config.model_seconds,
            Kind.TOOL: self.config.tool_seconds,
            Kind.SUBAGENT: self.config.subagent_seconds,
        }

    def _waits_for(self) -> tuple[Kind, _Call | None] | None:
        """Who is to speak next; None where it is a person."""
        if not self._awaited:
            return Kind.MODEL, None
        calls = self._awaited.values()
        if any(call.tool in _ASKS_A_PERSON for call in calls):
            return None
        subagent = next((call for call in calls if call.tool in _SUBAGENTS), None)
        return (Kind.SUBAGENT, subagent) if subagent else (Kind.TOOL, next(iter(calls)))

    def _verdict(
        self,
        kind: Kind,
        place: Entry | Place,
        onset_seq: int,
        entries: tuple[int, ...],
        summary: str,
        measure: int,
        tool: str = "",
    ) -> Verdict:
        facts: dict[str, str | int] = {"kind": kind.value}
        facts["results" if kind is Kind.NO_PROGRESS else "silent_seconds"] = measure
        if tool:
            facts["tool"] = tool
        return verdict(
            self,
            place,
            onset_seq=onset_seq,
            confidence=_CONFIDENCE[kind],
            summary=summary,
            entries=entries,
            facts=facts,
            key=kind.value,
        )
