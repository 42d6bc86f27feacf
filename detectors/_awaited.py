"""Tool calls that await their results: shared by detectors that judge the two together."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Awaited"]

_MOST = 12
"""Calls at a time; most in the corpora's 153 transcripts: 8. The oldest is dropped first: what
a crash cut off never returns."""
_LONGEST_ID = 64
"""Characters of a call's id that are compared; the Messages API's have 30."""

Kept = TypeVar("Kept")


class Awaited(Generic[Kept]):
    """What is kept of a call until its result. Bounded state, constant time.

    >>> awaited = Awaited[str]()
    >>> awaited.add("toolu_1", "make test")
    >>> awaited.pop("toolu_1"), awaited.pop("toolu_1")
    ('make test', None)
    """

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: dict[str, Kept] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def values(self) -> tuple[Kept, ...]:
        """What is kept of each, the longest awaited first."""
        return tuple(self._kept.values())

    def add(self, call_id: str, kept: Kept) -> None:
        """A call was made."""
        if len(self._kept) >= _MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[call_id[:_LONGEST_ID]] = kept

    def pop(self, call_id: str) -> Kept | None:
        """Its result is there; None where the call is not known."""
        return self._kept.pop(call_id[:_LONGEST_ID], None)

    def clear(self) -> None:
        """Nothing is awaited any more."""
        self._kept.clear()
