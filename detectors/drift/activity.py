"""What an agent is busy with, as a stream of small vectors, and when that changes.

A call's words are hashed into a vector (Weinberger et al., Feature Hashing for Large
Scale Multitask Learning, ICML 2009). The anchor is the sum of the objective's words and
of the first calls, by which the agent shows how it understood it; the activity is an
exponential mean of the calls since. The Page-Hinkley test (Page, Continuous Inspection
Schemes, Biometrika 1954) on their cosine distance finds a lasting rise; a detour that
returns is averaged out.

Both vectors are plain arrays, updated only where a call's words are, so that a step costs
a few microseconds and needs neither numpy's call overhead nor its import.
"""

from __future__ import annotations

from array import array
from math import sqrt
from string import ascii_lowercase
from zlib import crc32

__all__ = ["Activity", "PageHinkley"]

_BUCKETS = 256
"""Of hashed words; a call has about 25, so that few of them collide."""
_READ = 600
"""Bytes of a call's arguments or of an objective that are read."""
_SHORTEST_WORD = 3
_LETTERS = bytes(
    code if chr(code) in ascii_lowercase else ord(" ") for code in bytes(range(256)).lower()
)
"""For `bytes.translate`, which is ten times as fast as a pattern: letters of any case to
their small ones, all others to spaces."""
_MEMORY = 0.9
"""Weight of what the activity was before a call: it spans about ten calls."""
_OBJECTIVE = 2.0
"""Weight of the objective's words in the anchor, beside 1 for a call."""
_ANCHOR_CALLS = 10
"""First calls that belong to the anchor. With 8 or 12 the figures change little."""
_TOLERANCE = 0.05
"""Rise of the distance, per call, that the test forgives: river's and MOA's values are of
this order."""
_SMALL = 1e-6
_COMMON = frozenset(
    b"and command content description false file for from glob grep into limit mode name new "
    b"null offset old output path pattern replace string that the this true type with".split()
)


class PageHinkley:
    """Finds a lasting rise of a value's mean."""

    def __init__(self, threshold: float) -> None:
        self._threshold = threshold
        self._count = 0
        self._mean = self._sum = self._least = 0.0
        self.since = 0
        """How many values ago the sum was least: where the rise began."""

    def add(self, value: float) -> bool:
        """Take the next value; whether its mean has risen for good.

        >>> test = PageHinkley(threshold=2.0)
        >>> [test.add(value) for value in [0.1] * 20 + [0.9] * 4][-4:]
        [False, False, True, True]
        """
        self._count += 1
        self._mean += (value - self._mean) / self._count
        self._sum += value - self._mean - _TOLERANCE
        self.since += 1
        if self._sum < self._least:
            self._least, self.since = self._sum, 0
        return self._sum - self._least > self._threshold


class Activity:
    """One agent's work on one objective. Bounded state, constant time."""

    def __init__(self, objective: str) -> None:
        self._anchor = array("f", bytes(4 * _BUCKETS))
        self._recent = array("f", bytes(4 * _BUCKETS))
        self._scale = 1.0
        """What every number of `_recent` is to be multiplied with."""
        self._length = self._overlap = 0.0
        """Of the activity: its squared length, its product with the anchor."""
        self._calls = 0
        buckets = _buckets(objective[:_READ].encode(errors="ignore"))
        self._anchor_length = sqrt(self._raise_anchor(buckets, _OBJECTIVE))

    def add(self, arguments: bytes) -> float | None:
        """Take a call's arguments; the distance of the activity from the anchor, 0 to 1.

        None while the anchor is being learnt.
        """
        buckets = _buckets(arguments[:_READ])
        if not buckets:
            return None
        self._calls += 1
        if self._calls <= _ANCHOR_CALLS:
            self._raise_anchor(buckets, 1.0)
            self._follow(buckets)
            if self._calls == _ANCHOR_CALLS:
                self._settle()
            return None
        self._follow(buckets)
        length = self._anchor_length * sqrt(self._length)
        return 1.0 - self._overlap / length if length else 1.0

    def _raise_anchor(self, buckets: list[int], weight: float) -> float:
        share = weight / sqrt(len(buckets)) if buckets else 0.0
        for bucket in buckets:
            self._anchor[bucket] += share
        return weight * weight

    def _settle(self) -> None:
        """The anchor is complete: compute once what later calls only update."""
        self._anchor_length = sqrt(sum(weight * weight for weight in self._anchor))
        pairs = zip(self._anchor, self._recent, strict=True)
        self._overlap = self._scale * sum(one * other for one, other in pairs)

    def _follow(self, buckets: list[int]) -> None:
        share = 1.0 / sqrt(len(buckets))
        recent, anchor = self._recent, self._anchor
        with_recent = with_anchor = 0.0
        for bucket in buckets:
            with_recent += recent[bucket]
            with_anchor += anchor[bucket]
        with_recent *= self._scale * share
        with_anchor *= share
        fresh = 1.0 - _MEMORY
        self._overlap = _MEMORY * self._overlap + fresh * with_anchor
        self._length = (
            _MEMORY * _MEMORY * self._length + 2 * _MEMORY * fresh * with_recent + fresh * fresh
        )
        self._scale *= _MEMORY
        step = fresh * share / self._scale
        for bucket in buckets:
            recent[bucket] += step
        if self._scale < _SMALL:  # amortised: once in 130 calls
            self._recent = array("f", (weight * self._scale for weight in recent))
            self._scale = 1.0


def _buckets(text: bytes) -> list[int]:
    marks = [
        crc32(word) % _BUCKETS
        for word in text.translate(_LETTERS).split()
        if len(word) >= _SHORTEST_WORD and word not in _COMMON
    ]
    # A dictionary keeps the order: a set's depends on the process, and so would the sums.
    return list(dict.fromkeys(marks))
