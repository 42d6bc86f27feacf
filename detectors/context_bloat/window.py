"""How full the context window is, and when it will be."""

from __future__ import annotations

from detectors.context_bloat.held import CHARACTERS_A_TOKEN
from supervisor.core.entry import Text, Thinking, ToolCall

__all__ = ["Window"]

_SIZES = (200_000, 1_000_000)
"""Tokens of the windows there are; the first that holds what was measured is assumed."""
_COMPACTED_AT = 0.835
"""Of 200,000 tokens, where Claude Code compacts by itself: in 3 of the 4 compactions of the
corpora's transcripts at 167,361 to 171,646. The forecast counts up to there."""


class Window:
    """The tokens in one window, from one compaction to the next."""

    def __init__(self, size: int | None, *, known: int = 0) -> None:
        self._given = size
        self.size = size or max(known, _SIZES[0])
        self.used = 0
        self.calls = 0
        self._message: str | None = None
        self._first: int | None = None
        self._calls_before = 0

    @property
    def occupancy(self) -> float:
        """The share that is used."""
        return self.used / self.size

    def said(self, entry: Text | Thinking | ToolCall, characters: int) -> None:
        """Take the model's output. The source's count, where there is one, is right once a
        message: each of its blocks repeats it."""
        if isinstance(entry, ToolCall):
            self.calls += 1
        usage = entry.usage
        if usage is None or not usage.context_tokens:
            self.took(characters)
        elif entry.message_id is None or entry.message_id != self._message:
            self._message = entry.message_id
            self._count(usage.context_tokens + usage.output_tokens)

    def took(self, characters: int) -> None:
        """Take what goes in between two counts, or where the source counts nothing."""
        self.used += characters // CHARACTERS_A_TOKEN

    def _count(self, tokens: int) -> None:
        self.used = tokens
        if self._first is None:
            self._first, self._calls_before = tokens, self.calls
        if self._given is None and tokens > self.size:
            self.size = next((size for size in _SIZES if size >= tokens), tokens)

    def calls_left(self) -> int | None:
        """Calls until it is compacted, at the growth so far; None where it does not grow."""
        calls = self.calls - self._calls_before
        grown = self.used - (self._first or 0)
        if calls <= 0 or grown <= 0:
            return None
        return max(0, int((self.size * _COMPACTED_AT - self.used) * calls / grown))
