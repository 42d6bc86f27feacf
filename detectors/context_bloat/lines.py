"""Results that bring in again what the window holds, with nothing changed in between."""

from __future__ import annotations

from zlib import crc32

__all__ = ["KnownLines"]

_LOOKED_AT = 8_000
"""Characters of a result whose lines are compared."""
_LONG = 20
"""Characters from which a line is unlikely to stand twice by chance."""
_SAMPLE = 4
"""One line in so many is compared: those whose length it divides, so that a line is taken
or left out wherever it stands."""
_MOSTLY = 0.5
"""Share of a result's lines that have to be known."""
_BITS = 1 << 15
"""Of a filter that takes one line in 50 for known wrongly once it holds 5,000: two bits
each, 4 KiB. It is emptied whenever something may have changed."""

_REMEMBERED = 8
"""Re-reads kept as evidence."""


class KnownLines:
    """The lines read since the agent last changed anything. Fixed size, bounded time."""

    def __init__(self, enough: int) -> None:
        self._enough = enough
        self._bits = bytearray(_BITS // 8)
        self._empty = True
        self.reread: list[tuple[int, int]] = []
        """The `seq` of call and result, of those that were read again; the latest."""

    def forget(self) -> None:
        """What was read may read differently now."""
        if not self._empty:
            self._bits = bytearray(_BITS // 8)
            self._empty = True
        if self.reread:
            self.reread = []

    def read(self, text: str, called_at: int, seq: int) -> bool:
        """Take a result; whether it is mostly what was read before."""
        lines = text[:_LOOKED_AT].encode(errors="replace").splitlines()
        marks = {crc32(x) for x in lines if len(x) >= _LONG and not len(x) % _SAMPLE}
        known = sum([self._add(mark) for mark in marks]) if marks else 0
        if known < self._enough or known < _MOSTLY * len(marks):
            return False
        self.reread = [*self.reread, (called_at, seq)][-_REMEMBERED:]
        return True

    def _add(self, mark: int) -> bool:
        """Whether the line was there before."""
        bits = self._bits
        one, other = mark % _BITS, (mark >> 15) % _BITS
        if bits[one >> 3] >> (one & 7) & bits[other >> 3] >> (other & 7) & 1:
            return True
        bits[one >> 3] |= 1 << (one & 7)
        bits[other >> 3] |= 1 << (other & 7)
        self._empty = False
        return False
