"""Context bloat: the window overflows, holds what is of no use, or is no longer known.

It fires on

- *full*: the window is used up to where it should have been compacted, and was not.
- *waste*: in a crowded window, results that are outdated (the file was written since, or
  the same call or content came again) take much of it. The evidence holds their entries
  and how many tokens masking them frees.
- *thrash*: two automatic compactions with hardly a call in between.
- *reread*: results bring in what was read before, though nothing can have changed since.
  The agent has lost sight of what its context holds. One in four longer lines is compared,
  so that other pages and other line ranges of the same file are known too. It is told once
  early, at a confidence that is recorded only.

Every verdict tells what is used, how large the window is, how many calls are left at the
growth so far, and the largest result if it takes a tenth of the window. Tokens are the
source's count; between two counts, and without any, four characters are one.

A large window that is well used is quiet; so are reading a file again after an edit, a
command that may have changed something, or the user's word; paging; compactions by hand.

It does not catch context that was lost by a compaction, tool definitions that fill the
window from the start, images, or an agent that ignores what it read without reading it
again. What a subagent reads is not in its parent's window and is judged there.

On the development half of the corpora it would intervene in 0 of 382 healthy sessions; 2
more have an early re-read. TRAIL's context_loss, 77 traces: MCC 0.44 (0.38 where grouped
cross-validation chooses the thresholds), precision 1.00 (5 of 5), recall 0.25; all 5 are
SWE-bench runs. It fires in 16 of MIRAGE's 576 snapshots, of
which nobody said whether they lost context. No corpus holds a window that is full or
wasted to these thresholds, and only made-up cases thrash: their confidences are judgement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from pydantic import Field

from detectors._verdicts import verdict
from detectors.context_bloat.held import HeldResults, changes
from detectors.context_bloat.lines import KnownLines
from detectors.context_bloat.window import Window
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Compaction, Entry, Prompt, Text, Thinking, ToolCall, ToolResult
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["ContextBloat", "ContextBloatConfig", "Kind"]

_WORSE = 0.1
"""Share of the window by which a finding has to worsen to be told again."""
_OVERSIZED = 0.1
"""Share of the window from which one result is oversized."""


class Kind(StrEnum):
    """What is wrong with the window; the fact `kind` of every verdict."""

    FULL = "full"
    WASTE = "waste"
    THRASH = "thrash"
    REREAD = "reread"


class ContextBloatConfig(DetectorConfig):
    """When a context is bloated."""

    window_tokens: int | None = Field(None, ge=1_000)
    """Tokens that fit. None: 200,000, or 1,000,000 once more than that was seen in use."""
    full: float = Field(0.92, gt=0, le=1)
    """Occupancy from which the window is about to overflow. Claude Code compacts by itself
    at 0.84 to 0.86; beyond, that failed or is switched off. Highest in 153 transcripts: 0.86."""
    crowded: float = Field(0.6, gt=0, le=1)
    """Occupancy from which waste counts: below it, there is room for it."""
    waste: float = Field(0.35, gt=0, le=1)
    """Share of the window that outdated results take, from which masking them frees more
    than the model's next ten calls need. Highest in 153 transcripts: 0.29."""
    rereads: int = Field(3, ge=2)
    """Results that bring in what was read before, nothing having changed, from which the
    agent no longer knows what it has read. At 2, 4 of 382 healthy runs have them."""
    known_lines: int = Field(4, ge=1)
    """Compared lines, one in four of the longer ones, from which a result is more than a
    remark. With 3, there is one false finding in 382 healthy runs, and one more of TRAIL's
    losses of context."""
    thrash_calls: int = Field(10, ge=1)
    """Calls between two automatic compactions, below which the first gained nothing. A
    window that is compacted on time holds some 50 calls."""


_CONFIDENCE = {Kind.FULL: 0.85, Kind.WASTE: 0.8, Kind.THRASH: 0.9, Kind.REREAD: 0.85}
_EARLY_CONFIDENCE = 0.5
"""Of one re-read less than it takes."""


@dataclass(slots=True, frozen=True)
class _Finding:
    kind: Kind
    onset_seq: int
    summary: str
    entries: tuple[int, ...]
    confidence: float
    tokens_saved: int = 0


class ContextBloat(Detector):
    """Finds windows that overflow, or hold what is of no use, and agents lost in them."""

    name = "context_bloat"
    failure_mode = FailureMode.CONTEXT_BLOAT
    Config = ContextBloatConfig
    config: ContextBloatConfig

    def __init__(self, config: ContextBloatConfig | None = None) -> None:
        super().__init__(config)
        self._window = Window(self.config.window_tokens)
        self._compacted: int | None = None
        self._begin_window()

    def _begin_window(self) -> None:
        self._window = Window(self.config.window_tokens, known=self._window.size)
        self._results = HeldResults()
        self._lines = KnownLines(self.config.known_lines)
        self._told: dict[Kind, float] = {}

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Keep account of the window; judge it after each result, in constant time."""
        match entry:
            case ToolResult():
                return [self._verdict(found, entry) for found in self._read(entry)]
            case ToolCall():
                self._window.said(entry, len(memoryview(entry.input)))
                self._results.called(entry)
                if changes(entry):
                    self._lines.forget()
            case Text() | Thinking():
                self._window.said(entry, len(entry.text))
            case Prompt():
                self._window.took(len(entry.text))
                self._lines.forget()
            case Compaction():
                return [self._verdict(found, entry) for found in self._compact(entry)]
        return ()

    def _read(self, entry: ToolResult) -> Iterator[_Finding]:
        self._window.took(len(entry.text))
        called_at = self._results.answered(entry)
        if self._lines.read(entry.text, called_at, entry.seq):
            yield from self._reread()
        occupancy = self._window.occupancy
        if occupancy >= self.config.crowded:
            yield from self._crowded(occupancy, entry)

    def _crowded(self, occupancy: float, entry: ToolResult) -> Iterator[_Finding]:
        saved, outdated = self._results.wasted_tokens, self._results.outdated()
        if occupancy >= self.config.full and self._worse(Kind.FULL, occupancy):
            largest = self._results.largest()
            yield _Finding(
                Kind.FULL,
                largest.seq if largest else entry.seq,
                f"{occupancy:.0%} of the context window is used, and nothing compacts it.",
                outdated or (entry.seq,),
                _CONFIDENCE[Kind.FULL],
                saved,
            )
        share = saved / self._window.size
        if share >= self.config.waste and self._worse(Kind.WASTE, share):
            yield _Finding(
                Kind.WASTE,
                outdated[0],
                f"Outdated results take {share:.0%} of a context window that is "
                f"{occupancy:.0%} full.",
                outdated,
                _CONFIDENCE[Kind.WASTE],
                saved,
            )

    def _reread(self) -> Iterator[_Finding]:
        reread = self._lines.reread
        times = len(reread)
        if times < self.config.rereads - 1:
            return
        enough = times >= self.config.rereads
        yield _Finding(
            Kind.REREAD,
            reread[0][0],
            f"Read {times} times over what its context held, with nothing changed in between.",
            tuple(seq for pair in reread for seq in pair),
            _CONFIDENCE[Kind.REREAD] if enough else _EARLY_CONFIDENCE,
        )

    def _worse(self, kind: Kind, measure: float) -> bool:
        if kind in self._told and measure < self._told[kind] + _WORSE:
            return False
        self._told[kind] = measure
        return True

    def _compact(self, entry: Compaction) -> Iterator[_Finding]:
        calls, before = self._window.calls, self._compacted
        automatic = entry.trigger != "manual"
        if automatic and before is not None and calls < self.config.thrash_calls:
            yield _Finding(
                Kind.THRASH,
                before,
                f"Compacted again after {calls} calls: what is kept fills the window.",
                (before, entry.seq),
                _CONFIDENCE[Kind.THRASH],
            )
        self._begin_window()
        self._compacted = entry.seq if automatic else None

    def _verdict(self, found: _Finding, entry: Entry) -> Verdict:
        left = self._window.calls_left()
        largest = self._results.largest()
        facts: dict[str, str | int | float] = {
            "kind": found.kind.value,
            "used_tokens": self._window.used,
            "window_tokens": self._window.size,
            "tokens_saved": found.tokens_saved,
        }
        if left is not None:
            facts["calls_left"] = left
        if largest and largest.tokens >= _OVERSIZED * self._window.size:
            facts |= {"oversized_seq": largest.seq, "oversized_tokens": largest.tokens}
        return verdict(
            self,
            entry,
            onset_seq=found.onset_seq,
            confidence=found.confidence,
            summary=found.summary,
            entries=found.entries,
            facts=facts,
            key=found.kind.value,
        )
