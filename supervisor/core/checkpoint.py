"""`Checkpoint`: a place in a transcript that an agent can be resumed from.

A transcript can be cut where no tool call lacks its result and no model message is
cut in two: after a prompt, after the tool result that leaves no call open, and after
the text that ends a turn.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left

import msgspec

from supervisor.core.entry import Entry, Origin, Prompt, Text, Thinking, ToolCall, ToolResult

__all__ = ["Checkpoint", "Checkpoints"]

_LATEST = 64
"""So many of the latest are all known. Of older ones every second is dropped each time that
so many more have come, so that a session of any length takes less than 16 KB: an old failure
is rolled back a little further than need be."""
_MOST_OPEN = 256
"""Calls without a result at a time, where no message ids tell that they are of the past."""
_RESUMABLE_PROMPTS = frozenset({Origin.USER, Origin.LUCID, Origin.COMPACTION})


class Checkpoint(msgspec.Struct, frozen=True, kw_only=True):
    """The entry up to which (inclusive) a transcript can be resumed."""

    session_id: str
    transcript: str
    seq: int
    uuid: str


class Checkpoints:
    """The checkpoints of one agent's transcript, found as its entries come by.

    Observing is amortised O(1). Memory is bounded: the older they are, the fewer are known.
    """

    def __init__(self) -> None:
        self._seqs = array("Q")
        self._uuids: list[str] = []
        self._open_calls: set[str] = set()
        self._message_id: str | None = None
        self._before_message = 0
        self._session_id = ""
        self._transcript = ""

    def observe(self, entry: Entry) -> None:
        """Take note of the next entry of this transcript."""
        if isinstance(entry, Text | Thinking | ToolCall):
            self._join_message(entry.message_id)
        if isinstance(entry, ToolCall):
            if len(self._open_calls) >= _MOST_OPEN:
                self._open_calls.clear()
            self._open_calls.add(entry.call_id)
            return
        if isinstance(entry, ToolResult):
            self._open_calls.discard(entry.call_id)
        if self._can_cut_after(entry) and entry.uuid and entry.uuid not in self._uuids[-1:]:
            self._session_id, self._transcript = entry.session_id, entry.transcript
            self._seqs.append(entry.seq)
            self._uuids.append(entry.uuid)
            if len(self._seqs) > 2 * _LATEST:
                self._thin()

    def _thin(self) -> None:
        del self._seqs[1:_LATEST:2], self._uuids[1:_LATEST:2]
        self._before_message = max(0, self._before_message - _LATEST // 2)

    def _join_message(self, message_id: str | None) -> None:
        """Take back what was found since this message began: a call may run, and return,
        while the model still writes the next one of the same message. A new message, on
        the other hand, means that no call is open: what a crash cut off never returns."""
        if message_id is None:
            return
        if message_id == self._message_id:
            del self._seqs[self._before_message :], self._uuids[self._before_message :]
            return
        self._message_id, self._before_message = message_id, len(self._seqs)
        self._open_calls.clear()

    def _can_cut_after(self, entry: Entry) -> bool:
        if self._open_calls:
            return False
        if isinstance(entry, Prompt):
            return entry.origin in _RESUMABLE_PROMPTS
        if isinstance(entry, Text):
            return entry.stop_reason == "end_turn"
        return isinstance(entry, ToolResult)

    def before(self, seq: int) -> Checkpoint | None:
        """The last checkpoint whose entry comes before `seq`, in O(log n)."""
        return self._at(bisect_left(self._seqs, seq) - 1)

    def last(self) -> Checkpoint | None:
        """The newest checkpoint."""
        return self._at(len(self._seqs) - 1)

    def _at(self, index: int) -> Checkpoint | None:
        if index < 0:
            return None
        return Checkpoint(
            session_id=self._session_id,
            transcript=self._transcript,
            seq=self._seqs[index],
            uuid=self._uuids[index],
        )
