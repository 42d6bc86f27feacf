"""Drift: the agent leaves what it was asked to do.

The objective is what the user last asked for; only a user's prompt moves it (for a
subagent, its instructions). Three findings:

- *constraint broken*: a call does what the prompt forbids in so many words: writes a file
  that it says not to touch, or another than the only one it allows, edits although no
  changes were wanted, runs a command or commits although told not to. A later prompt
  of the user's that speaks of the same thing lifts the ban.
- *plan skipped*: the agent planned, in numbered steps, to look something up or to use a
  tool for that, and hands its answer over although no call has told it anything since the
  objective: nothing came back that it had not written itself.
- *subject changed*: the words in its calls have moved away from those of the objective and
  of its first calls, lastingly (Page-Hinkley on the cosine distance, see
  `detectors.drift.activity`). This tells that the work has moved on, not that it should not
  have, so its confidence is low, and it is recorded only.

A detour that returns is quiet: set-up, reading, debugging a dependency. It does not catch
an agent that works on the right files towards the wrong end, one that gives up after a
search in vain and answers all the same, or a ban without a name to compare a call with
("do not over-engineer"). Bans and plans are read in English; in other languages only
`subject changed` is left, and for scripts other than Latin nothing.

Measured on the development half of the corpora:

- TRAIL, at trace level and at the confidence that the default policy acts on: 31 of 37
  traces labelled as drift, and 7 of the 40 others; precision .82, recall .84, MCC .66
  (95 % interval .48 to .82, by bootstrap over tasks); on its GAIA part alone .58, where a
  strong model that reads the whole trace afterwards reaches .31. All are `plan skipped`;
  23 of the 37 are found at the very step, 29 within three. The confidence is the precision
  by Laplace's rule: 32 of 40.
- AgentRx: none of 12. What is called drift there is a misunderstood wish or the wrong
  order of calls; nothing here sees that.
- Healthy sessions (184 solved mini-SWE runs, 46 solved tau-bench runs, 153 Claude Code
  transcripts): no intervention. `subject changed` is recorded in 8.
- `constraint broken`: no corpus labels it, so its confidence is judgement. 246 mini-SWE
  prompts forbid changes to tests; no run broke that by an editing tool. Only one other
  prompt of the corpora was read as a ban, wrongly, and is not any more.
- `subject changed`, on changes made by splicing the calls of another session onto those of
  a turn: 31 of 50 found in Claude Code turns, 140 of 151 in mini-SWE runs, after 22 calls
  in the median; 1 of 81 and 5 of 183 fire unspliced.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from zlib import crc32

from pydantic import Field

from detectors._deeds import deed_of
from detectors._turns import hands_over
from detectors._verdicts import verdict
from detectors.drift.activity import Activity, PageHinkley
from detectors.drift.constraints import Constraint, constraints_in
from detectors.drift.plans import Inquiry
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Fact, FailureMode, Severity, Verdict

__all__ = ["Drift", "DriftConfig"]

_CONSTRAINTS = 8
_CONSTRAINT_CHARACTERS = 1_500
"""Remembered, the oldest dropped first; a prompt's bans have some 60 characters each."""
_PLACES = 32
"""Last calls whose places are remembered, to say where a change of subject began."""
_LATER = 0.7
"""Confidence that a ban still holds after further prompts of the user's: "ship it" lifts
"don't commit" in words that are not understood here."""
_EXCERPT = 200
"""Characters of a prompt, a plan or a command that a verdict quotes."""
_BUSYWORK = frozenset({"AskUserQuestion", "TaskCreate", "TaskUpdate", "TodoWrite"})
"""Tools for keeping track: what they hold is the plan, not the work."""


class DriftConfig(DetectorConfig):
    """What counts as leaving the objective."""

    constraints: bool = True
    """Whether prompts are searched for bans. Off, where they hold rules for others."""
    plans: bool = True
    """Whether an answer without the inquiry that was planned counts."""
    subject_threshold: float = Field(3.0, gt=0)
    """How far the distance may rise in sum before the subject counts as changed. Chosen
    by the spliced sessions (see the module): at 4, none of the 81 unspliced Claude Code
    turns fires instead of one, and of the changes a third is found instead of 62 %."""


class Drift(Detector):
    """Compares what an agent does with what it was asked to do."""

    name = "drift"
    failure_mode = FailureMode.DRIFT
    Config = DriftConfig
    config: DriftConfig

    def __init__(self, config: DriftConfig | None = None) -> None:
        super().__init__(config)
        self._constraints: tuple[tuple[int, Constraint], ...] = ()
        """Each with the entry of the prompt that states it."""
        self._aim("", 0)

    def _aim(self, objective: str, seq: int) -> None:
        """Begin anew: the user has said what to do."""
        self._objective = one_line(objective, _EXCERPT)
        self._objective_seq = seq
        self._inquiry = Inquiry()
        self._activity: Activity | None = Activity(objective)
        self._test = PageHinkley(self.config.subject_threshold)
        self._places = array("Q")

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Judge each call against the last objective. Constant time."""
        if isinstance(entry, ToolCall):
            return self._call(entry)
        if isinstance(entry, ToolResult):
            self._inquiry.complete(entry)
        elif isinstance(entry, Text):
            if self.config.plans:
                self._inquiry.hear(entry)
        elif isinstance(entry, Prompt) and entry.origin in {Origin.USER, Origin.AGENT}:
            self._hear(entry)
        return ()

    def _hear(self, prompt: Prompt) -> None:
        self._aim(prompt.text, prompt.seq)
        if not self.config.constraints:
            return
        kept = [held for held in self._constraints if not held[1].lifted_by(prompt.text)]
        said = [(prompt.seq, constraint) for constraint in constraints_in(prompt.text)]
        self._constraints = tuple(_latest([*kept, *said]))

    def _call(self, call: ToolCall) -> tuple[Verdict, ...]:
        broken = self._broken(call) if self._constraints else None
        skipped = self._skipped(call) if hands_over(call) else None
        self._inquiry.begin(call)
        changed = self._changed(call)
        return tuple(found for found in (broken, skipped, changed) if found is not None)

    def _broken(self, call: ToolCall) -> Verdict | None:
        deed = deed_of(call)
        breaches = [(held.breach(deed), seq, held) for seq, held in self._constraints]
        confidence, seq, constraint = max(breaches, key=lambda breach: breach[0])
        if not confidence:
            return None
        if seq != self._objective_seq:
            confidence = min(confidence, _LATER)
        words = one_line(constraint.words, _EXCERPT)
        did = one_line(deed.command or deed.path, _EXCERPT)
        return self._verdict(
            call,
            call.seq,
            confidence,
            f"{one_line(call.tool, _EXCERPT)} breaks what was asked: {words}",
            {"pattern": "constraint broken", "constraint": words, "did": did},
            (seq, call.seq),
            f"constraint broken {crc32(words.encode(errors='replace')):08x}",
        )

    def _skipped(self, call: ToolCall) -> Verdict | None:
        inquiry = self._inquiry
        if inquiry.told or not inquiry.planned_at or inquiry.inquires_itself(call):
            return None
        step = one_line(inquiry.step, _EXCERPT)
        return self._verdict(
            call,
            call.seq,
            0.8,
            f"Answered without what it had planned to find out: {step}",
            {"pattern": "plan skipped", "planned": step},
            (inquiry.planned_at, call.seq),
        )

    def _changed(self, call: ToolCall) -> Verdict | None:
        if self._activity is None or call.tool in _BUSYWORK:
            return None
        distance = self._activity.add(bytes(memoryview(call.input)[:1_000]))
        if distance is None:
            return None
        self._places.append(call.seq)
        del self._places[:-_PLACES]
        if not self._test.add(distance):
            return None
        self._activity = None  # told once an objective
        began = self._places[max(0, len(self._places) - 1 - self._test.since)]
        return self._verdict(
            call,
            began,
            0.4,
            f"The work has moved away from: {self._objective}",
            {"pattern": "subject changed", "distance": round(distance, 3)},
            tuple(seq for seq in (self._objective_seq, began, call.seq) if seq),
        )

    def _verdict(
        self,
        call: ToolCall,
        onset_seq: int,
        confidence: float,
        summary: str,
        facts: Mapping[str, Fact],
        entries: tuple[int, ...],
        key: str = "",
    ) -> Verdict:
        return verdict(
            self,
            call,
            onset_seq=onset_seq,
            severity=Severity.WARNING if confidence >= 0.6 else Severity.INFO,
            confidence=confidence,
            summary=summary,
            entries=entries,
            facts={**facts, "objective": self._objective},
            key=key or str(facts["pattern"]),
        )


def _latest(held: list[tuple[int, Constraint]]) -> list[tuple[int, Constraint]]:
    """As many of the latest as may be kept, in their order."""
    room, first = _CONSTRAINT_CHARACTERS, max(0, len(held) - _CONSTRAINTS)
    for place in range(len(held) - 1, first - 1, -1):
        room -= held[place][1].size
        if room < 0:
            return held[place + 1 :]
    return held[first:]
