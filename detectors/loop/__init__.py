"""Loops: the agent does, asks or says again what it has done, asked or said.

A step is a tool call together with its result, both stripped of what changes by itself
(key order, white space, timestamps, durations, ids; arguments that say why, or how much).
The call *repeats* where its answer is that of its last run; any other step is *news*, and
news that shows the world moving (a write, a known call that answers differently) is a
*change*. It is a loop when

- *identical*: a call ran `repeats` times with the same answer and no news in between, or,
  if it succeeds, `fruitless` times with news but no change in between;
- *cycle*: a round of 2 to `longest_cycle` steps ran `repeats` times, step for step;
- *varied*: the same edit was made, or the same call failed in ever other words with no
  change in between, one time more than `repeats`;
- *nothing new*: `fruitless` steps on end got answers that their calls had had before;
- *failure*: `fruitless` attempts failed alike, or found nothing, whatever was tried, and
  neither did their tool succeed in between nor was anything changed. Calls of one message
  count once;
- *stock-taking*: `fruitless` plans written down, or looks at a repository's state, on end;
- *rereading*: `fruitless` reads of a file on end showed no line that was not read before;
- *reworded search*: a search's words were in earlier ones by `reworded`;
- *respawn*: a subagent was sent on much the same errand `repeats` times, one by one;
- *shared failure*: the same call failed the same way in `repeats` agents of the session, each
  sent when the one before had failed;
- *monologue*: a message, or a round of up to 4, was said `repeats` times with no tool
  result in between;
- *chant*: one message says the same 8 times on end, or consists of a few sentences, each
  said 4 times on average;
- *compaction*: `repeats` compactions with nothing new done in between.

So polling, paging, batches, edit-test-edit, verification in rounds and a re-read after a
write are quiet: each brings news or a change. Waiting, and errors that pass by themselves,
such as rate limits, have `waiting_repeats`. What the user types starts all counts anew; a
compaction or a nudge does not.

It does not see a loop whose steps differ in words and results, such as clicking about. Of
what several subagents do, it compares failures alone: that each of them reads the same files
is as it should be.

The confidence begins at 0.8 and halves its distance to 1 with each further repetition.
Beyond it, on the development half of the corpora, lie 92 of MIRAGE's 93 loops and 72 of
the 73 loop cases, none later than where the system fired that a case was taken from; none
of the 55 healthy loop cases, of 184 solved mini-SWE runs, of 46 solved tau-bench runs and
of 152 Claude Code transcripts judged healthy. Of TRAIL's 20 traces with a loop it finds
10, besides 3 of the 57 without (MCC 0.52, and 0.49 where grouped cross-validation chooses
the thresholds; on GAIA's tasks alone 0.64): most of what passes is effort that a reader
finds wasted, and nothing comes again. Those 3 are ten failing calls, and seven and eleven
searches for the same thing. With `suspicions`, it points at 4 of the 10 that it passes, at
one trace without a loop, and at 36 of the 382 healthy runs: a `judge` that is never wrong
would bring the MCC to 0.68. No corpus holds a failure that several agents share.
"""

from __future__ import annotations

from collections.abc import Iterable

from detectors._awaited import Awaited
from detectors._verdicts import verdict
from detectors.loop.calls import Call, call_of
from detectors.loop.config import LoopConfig
from detectors.loop.failures import Failures
from detectors.loop.finding import EXCERPT, Finding, confidence_of, digest_of
from detectors.loop.looks import Reading, StockTaking, Wording
from detectors.loop.repetition import Repetition
from detectors.loop.shared import SharedFailures
from detectors.loop.steps import Memory, Step
from detectors.loop.texts import Sayings
from supervisor.core.detector import Detector
from supervisor.core.entry import (
    SYNTHETIC_MODEL,
    Compaction,
    Entry,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Severity, Verdict

__all__ = ["Loop", "LoopConfig"]

_EVIDENCE = 8
"""Entries that a verdict points at."""
_COMPACTIONS = 8
"""Compactions remembered."""


class Loop(Detector):
    """Finds an agent that goes round in circles: in its calls, or in its words."""

    name = "loop"
    failure_mode = FailureMode.LOOP
    Config = LoopConfig
    config: LoopConfig

    def __init__(self, config: LoopConfig | None = None) -> None:
        super().__init__(config)
        self._awaited = Awaited[Call]()
        self._shared = SharedFailures(self.config)
        self._began = 0
        self._start_anew()

    def join(self, other: Loop) -> None:
        """Know what failed in the session's other agents."""
        self._shared = other._shared

    def _start_anew(self) -> None:
        """The user has spoken: what was done before was done for something else."""
        config = self.config
        self._shared.forget()
        self._memory = Memory()
        self._repetition = Repetition(config)
        self._failures = Failures(config)
        self._stock = StockTaking(config)
        self._reading = Reading(config)
        self._wording = Wording(config)
        self._sayings = Sayings(config)
        self._compactions: list[int] = []

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Pair calls with results; judge each step and each message, in constant time."""
        found = None
        self._began = self._began or entry.seq
        if isinstance(entry, ToolCall):
            self._begin(entry)
        elif isinstance(entry, ToolResult):
            found = self._complete(entry)
        elif isinstance(entry, Text | Thinking):
            if entry.model != SYNTHETIC_MODEL:
                found = self._sayings.take(entry)
        elif isinstance(entry, Compaction):
            found = self._compact(entry)
        elif isinstance(entry, Prompt) and entry.origin is Origin.USER:
            self._start_anew()
        return () if found is None else (self._verdict(found, entry),)

    def _verdict(self, found: Finding, entry: Entry) -> Verdict:
        return verdict(
            self,
            entry,
            onset_seq=found.onset_seq,
            severity=_severity(found),
            confidence=confidence_of(found),
            summary=one_line(found.summary, 2 * EXCERPT),
            entries=sorted(set(found.seqs))[-_EVIDENCE:],
            facts={"pattern": found.pattern, "repetitions": found.repetitions, **found.facts},
            key=found.identity,
        )

    def _begin(self, entry: ToolCall) -> None:
        self._awaited.add(entry.call_id, call_of(entry))

    def _complete(self, entry: ToolResult) -> Finding | None:
        call = self._awaited.pop(entry.call_id)
        if call is None:
            return None
        step, past = self._memory.take(call, entry)
        self._note_progress(step)
        found = (
            self._repetition.take(step, past, entry),
            self._failures.take(step, entry),
            self._stock.take(call),
            self._reading.take(call),
            self._wording.take(call),
            self._shared.take(step, entry, self._began),
        )
        certain = (one for one in found if one is not None and one.repetitions >= one.needed)
        return next(certain, next((one for one in found if one is not None), None))

    def _note_progress(self, step: Step) -> None:
        if self._sayings.any:
            self._sayings.forget()
        if not step.known:
            self._compactions.clear()
        if step.changed and not self._reading.asked_otherwise(step.call):
            self._reading.forget()

    def _compact(self, entry: Compaction) -> Finding | None:
        self._reading.forget()
        self._compactions = [*self._compactions, entry.seq][-_COMPACTIONS:]
        times, needed = len(self._compactions), self.config.repeats
        if times < needed:
            return None
        return Finding(
            pattern="compaction",
            identity=digest_of(b"compaction").hex(),
            summary=f"{times} compactions, and nothing new done in between.",
            repetitions=times,
            needed=needed,
            onset_seq=self._compactions[1],
            seqs=tuple(self._compactions),
        )


def _severity(found: Finding) -> Severity:
    if found.repetitions < found.needed:
        return Severity.INFO
    severe = found.repetitions >= 2 * found.needed
    return Severity.CRITICAL if severe else Severity.WARNING
