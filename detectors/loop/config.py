"""`LoopConfig`: the thresholds, each with its reason."""

from __future__ import annotations

from pydantic import Field

from supervisor.core.detector import DetectorConfig

__all__ = ["LoopConfig"]


class LoopConfig(DetectorConfig):
    """How much repetition is a loop.

    The reasons are measured on the development half of the corpora: 93 MIRAGE loops, 73
    loop cases, 55 healthy ones, 382 healthy runs (solved mini-SWE and tau-bench, Claude
    Code). Each threshold stands where its neighbours give much the same figures.
    """

    repeats: int = Field(3, ge=2)
    """The same call with the same answer and nothing new in between, rounds of several
    calls, the same message, compactions without work between them. Twice is a second look:
    it would flag 14 healthy runs. At 4, 16 MIRAGE loops and 15 loop cases pass. A call
    whose answers differ (an edit made again, a call that fails in ever other words) needs
    one more."""
    fruitless: int = Field(5, ge=2)
    """Steps that bring nothing, each in another way: failures of one kind, empty searches,
    answers that were there before, plans rewritten. At 3, nine healthy runs are flagged,
    at 4 one and a healthy loop case; at 7 the first loop case passes."""
    waiting_repeats: int = Field(6, ge=2)
    """Runs of one call that waits for something else, twice `repeats`: there, an answer
    that has not changed yet is no failure. A guess: no corpus holds such a case."""
    longest_cycle: int = Field(8, ge=2, le=16)
    """Steps in the longest round looked for. Longer ones show as steps that bring nothing;
    from 4 to 16 the figures are the same."""
    reworded: float = Field(1.0, gt=0.5)
    """How much of a search was searched for before, in other words: the shares of words in
    common with earlier searches, added up where they are half or more. 1 is two searches
    of which half is the same, or one in another order. From 0.7 to 1 the figures on TRAIL
    are the same; at 1.25, three of its loops pass."""
    suspicions: bool = False
    """Whether a second failure of one kind, and a search half of which was searched for
    before, are told too, at a confidence that is recorded only: for a policy's `judge` to
    look at. Off, since most of them come to nothing."""
