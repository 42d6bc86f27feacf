"""Hallucinated tools: the agent uses, or quotes, what does not exist.

It fires on

- *unknown tool*: a call of a tool that does not exist, again after an error said so, with
  the real tools nearest to it. A tool that the agent was told of, or that has worked, is
  not invented: where it is gone, the infrastructure failed.
- *rejected arguments*: arguments that the tool refuses, or that violate its schema where
  the tool listing carries one, again after the agent was told.
- *missing name*: a command, module, attribute, option or path that does not exist, used a
  third time after two errors said so; it has to stand in the agent's own call. Paths stay
  below what a policy acts on: a file may be awaited.
- *prose call*, *prose result*: a tool call, or a tool's result, in the markup of one and
  outside code fences, in a message without a call.
- *invented result*: an answer that tells what look-ups brought, though no result has told
  the agent anything; *nothing consulted*: an answer after a plan to look things up, and
  no result that says more than its call did.

A first miss that the agent corrects is quiet, and so are a file about to be created, a
failing test that names what is to be written, a name that works later, work that is about
such markup, an answer from what the user gave. What the user types starts the counts anew.
Parallel calls of one message are one attempt. Another invented tool each time is one
failure: they share a key.

It does not catch an invented fact among real results, a wrong tool that works, or an
answer from memory where nothing was planned. Plans and claims are read in English. Where
no tool hands in the answer, only last words that plainly claim a search count. The
corpora's transcripts (CLI 1.0.24 to 2.1.132) list no schemas: there, the tool's refusal
tells alone.

On the development half of the corpora it finds nothing in 382 healthy sessions and
nothing else in MIRAGE, AgentRx, Who&When or tau-bench. TRAIL (77 traces, at the default
policy's 0.8): hallucinated_tool MCC 0.56 (precision 0.72, recall 0.62), tool_misuse MCC
0.39 (0.52, 0.60), each by the kinds that say so, and the same where grouped
cross-validation chooses the thresholds. If the same verdicts answer for both, it is 0.44
and 0.41: people tell the two apart by other things than the transcript shows. Of 12
invented results TRAIL labels 12 with either; of 17 with nothing consulted 13, of the rest
3 hold drift for the same answer. Of 6 refused arguments it labels 3; all 6 are a call of
the same tool with the same mistake. Unknown tools, missing names and prose calls occur in
none of these corpora but once in the loop cases: their confidence is judgement.
"""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from detectors._awaited import Awaited
from detectors._verdicts import verdict
from detectors.hallucinated_tool.backing import Backing
from detectors.hallucinated_tool.finding import Call, Finding
from detectors.hallucinated_tool.mistakes import RepeatedMistakes
from detectors.hallucinated_tool.prose import ProseCalls
from detectors.hallucinated_tool.schemas import Schemas
from detectors.hallucinated_tool.unknown import LONGEST_NAME, UnknownTools
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["HallucinatedTool", "HallucinatedToolConfig"]

_NAME = LONGEST_NAME + 1
_HEAD, _TAIL = 240, 80
"""Bytes of a call's arguments that are kept until its result."""


class HallucinatedToolConfig(DetectorConfig):
    """When what does not exist counts."""

    report_first_miss: bool = False
    """Whether the call of an unknown tool counts before the agent was told that there is
    none. Off, because an agent that reads the error and goes on needs no help."""
    rejections: int = Field(2, ge=2)
    """Calls of one tool with arguments that it refuses: the second comes after the agent
    was told. No healthy run of the corpora's development half makes two."""
    misses: int = Field(3, ge=2)
    """Uses of a command, module, name, option or path that the agent was told does not
    exist. Twice is a second look: 1 of 382 healthy runs has two, none has three."""
    look_ups: int = Field(2, ge=1)
    """Mentions of look-ups, before an answer, from which they were planned. One may be a
    figure of speech: of TRAIL's traces with exactly one, 6 of 7 needed none."""
    told_words: int = Field(3, ge=1)
    """Words of a result that its call did not hold, from which it tells something: fewer are
    the frame that a tool puts around what it echoes."""


class HallucinatedTool(Detector):
    """Finds what the agent uses or quotes though it does not exist."""

    name = "hallucinated_tool"
    failure_mode = FailureMode.HALLUCINATED_TOOL
    Config = HallucinatedToolConfig
    config: HallucinatedToolConfig

    def __init__(self, config: HallucinatedToolConfig | None = None) -> None:
        super().__init__(config)
        self._awaited = Awaited[Call]()
        self._tools = UnknownTools(report_first_miss=self.config.report_first_miss)
        self._schemas = Schemas()
        self._mistakes = RepeatedMistakes(
            self._schemas, rejections=self.config.rejections, misses=self.config.misses
        )
        self._prose = ProseCalls()
        self._backing = Backing(self.config.look_ups, self.config.told_words)

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Learn which tools there are; judge texts and results, in constant time."""
        found = (self._prose.observe(entry), *self._parts(entry))
        return [self._verdict(one, entry) for one in found if one is not None]

    def _parts(self, entry: Entry) -> Iterable[Finding | None]:
        match entry:
            case ToolCall():
                self._begin(entry)
            case ToolResult():
                return self._complete(entry)
            case Text():
                return (self._backing.said(entry),)
            case Notice():
                self._tools.learn(entry.tools_added)
                self._tools.forget(entry.tools_removed)
                self._schemas.learn(entry.tools_taking)
            case Prompt(origin=Origin.USER):
                self._tools.begin_anew()
                self._mistakes.begin_anew()
            case Prompt(origin=Origin.COMPACTION | Origin.TASK):
                self._backing.told()
        return ()

    def _begin(self, entry: ToolCall) -> None:
        self._backing.called(entry)
        view = memoryview(entry.input)
        whole = len(view) <= _HEAD + _TAIL
        given = bytes(view) if whole else bytes(view[:_HEAD]) + bytes(view[-_TAIL:])
        self._awaited.add(
            entry.call_id, Call(entry.tool[:_NAME], entry.seq, entry.message_id, given)
        )

    def _complete(self, entry: ToolResult) -> Iterable[Finding | None]:
        call = self._awaited.pop(entry.call_id)
        if call is None:
            return ()
        parts = (self._tools, self._mistakes, self._backing)
        return tuple(part.completed(call, entry) for part in parts)

    def _verdict(self, found: Finding, entry: Entry) -> Verdict:
        return verdict(
            self,
            entry,
            onset_seq=found.onset_seq,
            severity=found.severity,
            confidence=found.confidence,
            summary=found.summary,
            entries=found.entries,
            facts={"kind": found.kind.value, **found.facts},
            key=found.key,
        )
