"""Drift: the agent leaves what it was asked to do.

The objective is what the user last asked for; only a user's prompt moves it (for a
subagent, its instructions). Three findings:

- *constraint broken*: a call does what the prompt forbids in so many words: writes a file
  that it says not to touch, or another than the only one it allows, edits although no
  changes were wanted, runs a command or commits although told not to. A later prompt
  of the user's that speaks of the same thing lifts the ban.
  A breach is undone by breaching once more: the next one is not counted, where the agent
  was told in between (a prompt of Lucid's, or a hook's words beside a result).
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
  (95 % interval .48 to .82, by bootstrap over tasks; .66 too where grouped cross-validation
  chooses the thresholds); on its GAIA part alone .58, where a strong model that reads the
  whole trace afterwards reaches .31. All are `plan skipped`; 23 of the 37 are found at the
  very step, 29 within three. The confidence is the precision by Laplace's rule: 32 of 40.
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
- `subject changed` by `embeddings`, with 32,000 vectors of 256 numbers (those that the package
  wordllama 0.4 holds), on turns of 25 calls and more: it finds 26 of 47 changes in Claude Code
  turns, words find 23, with one false finding each; in mini-SWE runs 100 of 143 with 1, words
  130 with 5. That is no better, and takes some 130 µs a call where words take 8, so it is off.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping
from pathlib import Path
from zlib import crc32

from pydantic import Field, field_validator

from detectors._deeds import deed_of
from detectors._turns import hands_over
from detectors._verdicts import verdict
from detectors.drift.activity import Activity, PageHinkley
from detectors.drift.constraints import Constraint, constraints_in
from detectors.drift.embedded import Meaning, static_model
from detectors.drift.plans import Inquiry
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Fact, FailureMode, Severity, Verdict

__all__ = ["Drift", "DriftConfig"]

_CONSTRAINTS = 8
_CONSTRAINT_BYTES = 1_500
"""Remembered, the oldest dropped first; a prompt's bans have some 60 characters each."""
_PLACES = 32
"""Last calls whose places are remembered, to say where a change of subject began."""
_LATER = 0.7
"""Confidence that a ban still holds after further prompts of the user's: "ship it" lifts
"don't commit" in words that are not understood here."""
_EXCERPT = 200
"""Characters of a prompt, a plan or a command that a verdict quotes."""
_CAN_BE_UNDONE = frozenset({"edit", "no changes", "only"})
"""Kinds of bans that a further breach of the same may make good."""
_BUSYWORK = frozenset({"AskUserQuestion", "TaskCreate", "TaskUpdate", "TodoWrite"})
"""Tools for keeping track: what they hold is the plan, not the work."""


class DriftConfig(DetectorConfig):
    """What counts as leaving the objective."""

    constraints: bool = True
    """Whether prompts are searched for bans. Off, where they hold rules for others."""
    plans: bool = True
    """Whether an answer without the inquiry that was planned counts."""
    plan_steps: int = Field(3, ge=1, le=99)
    """Numbered steps from which words are a plan. From 1 to 5, the figures are the same."""
    told_words: int = Field(12, ge=1)
    """Words in a result that its call did not hold, from which it has told something. What
    code printed of its own strings, or a single computed number, does not reach it."""
    subject_threshold: float = Field(3.0, gt=0)
    """How far the distance may rise in sum before the subject counts as changed. Chosen
    by the spliced sessions (see the module): at 4, none of the 81 unspliced Claude Code
    turns fires instead of one, and of the changes a third is found instead of 62 %."""

    embeddings: Path | None = None
    """Folder of a static embedding model (model2vec's format) by which the subject is compared
    instead of by words; needs the extra `embeddings`. Read when the policy is loaded, and
    never downloaded."""
    embedded_threshold: float = Field(1.5, gt=0)
    """Takes the place of `subject_threshold` with `embeddings`, between which distances are
    smaller. With the one model that was tried (see the module), it has no more false findings
    than words have; measure it with yours."""

    @field_validator("embeddings")
    @classmethod
    def _can_be_read(cls, value: Path | None) -> Path | None:
        if value is not None:
            static_model(value)
        return value


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
        self._broken_last: Constraint | None = None
        self._told_of_it = False
        """Whether the agent was told something since, of which it may undo the breach."""
        self._aim("", 0)

    def _aim(self, objective: str, seq: int) -> None:
        """Begin anew: the user has said what to do."""
        self._objective = one_line(objective, _EXCERPT)
        self._objective_seq = seq
        self._inquiry = Inquiry(self.config.plan_steps, self.config.told_words)
        self._activity: Activity | Meaning | None = self._following(objective)
        self._test = PageHinkley(self._threshold)
        self._places = array("Q")

    @property
    def _threshold(self) -> float:
        config = self.config
        return config.embedded_threshold if config.embeddings else config.subject_threshold

    def _following(self, objective: str) -> Activity | Meaning:
        folder = self.config.embeddings
        return Meaning(objective, static_model(folder)) if folder else Activity(objective)

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Judge each call against the last objective. Constant time."""
        if isinstance(entry, ToolCall):
            return self._call(entry)
        if isinstance(entry, ToolResult):
            self._inquiry.complete(entry)
        elif isinstance(entry, Text):
            if self.config.plans:
                self._inquiry.hear(entry)
        elif _tells(entry):
            self._told_of_it = True
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
        if not confidence or self._undoes(constraint):
            return None
        self._broken_last, self._told_of_it = constraint, False
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

    def _undoes(self, constraint: Constraint) -> bool:
        """Whether a breach may make the last one good; one of them alone."""
        if not self._told_of_it or constraint != self._broken_last:
            return False
        self._broken_last = None
        return constraint.kind in _CAN_BE_UNDONE

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


def _tells(entry: Entry) -> bool:
    if isinstance(entry, Notice):
        return entry.type == "attachment/hook_additional_context"
    return isinstance(entry, Prompt) and entry.origin is Origin.LUCID


def _latest(held: list[tuple[int, Constraint]]) -> list[tuple[int, Constraint]]:
    """As many of the latest as may be kept, in their order."""
    room, first = _CONSTRAINT_BYTES, max(0, len(held) - _CONSTRAINTS)
    for place in range(len(held) - 1, first - 1, -1):
        room -= held[place][1].size
        if room < 0:
            return held[place + 1 :]
    return held[first:]
