"""Rounds: the same items in the same order, over and over."""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

__all__ = ["Rounds"]

Item = TypeVar("Item", int, bytes)


class Rounds(Generic[Item]):
    """Finds periods of up to `longest` items, in one comparison a period and known item."""

    def __init__(self, longest: int) -> None:
        self._recent: deque[Item] = deque(maxlen=longest)
        self._matches = [0] * longest
        """How many items in a row equalled the one a period earlier, by period - 1."""
        self._onsets = [0] * longest
        self._running = False

    def add(self, item: Item, seq: int, known: bool) -> None:
        """Take the next item; one that is not `known` ends every round."""
        if known:
            self._compare(item, seq)
        elif self._running:
            self._matches = [0] * len(self._matches)
            self._running = False
        self._recent.append(item)

    def _compare(self, item: Item, seq: int) -> None:
        matches, self._running = self._matches, False
        for back, earlier in enumerate(reversed(self._recent)):
            if earlier != item:
                matches[back] = 0
                continue
            self._running = True
            matches[back] += 1
            if matches[back] == 1:
                self._onsets[back] = seq

    def period(self) -> int | None:
        """The shortest length of which two rounds on end are complete."""
        if not self._running:
            return None
        lengths = enumerate(self._matches, 1)
        return next((length for length, matched in lengths if matched >= length), None)

    def current(self) -> tuple[int, int, int] | None:
        """Length, number and onset of the rounds of this period, at the end of a round."""
        length = self.period()
        if length is None:
            return None
        rounds, over = divmod(self._matches[length - 1], length)
        return None if over else (length, rounds + 1, self._onsets[length - 1])
