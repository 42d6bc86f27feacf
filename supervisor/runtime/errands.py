"""When an agent's subagents are done, so that what is held for them can be put down."""

from __future__ import annotations

from supervisor.core.entry import Entry, Text, Thinking, ToolCall, ToolResult

__all__ = ["Errands", "has_ended"]

_SPAWNING = frozenset({"Agent", "Task"})
"""Claude Code's tools for sending a subagent; the first since 2.1, the second before."""
_MOST = 64
"""Errands out at a time. Forgotten ones leave their subagents' state where it is."""


class Errands:
    """The subagents that one agent has sent and waits for. Bounded state, constant time."""

    __slots__ = ("_message_id", "_out")

    def __init__(self) -> None:
        self._out: set[str] = set()
        self._message_id: str | None = None

    def observe(self, entry: Entry) -> bool:
        """Take the agent's next entry; whether by it the last of them is back."""
        if not self._out and not isinstance(entry, ToolCall):
            return False
        if isinstance(entry, ToolResult):
            return self._comes_back(entry)
        if not isinstance(entry, Text | Thinking | ToolCall):
            return False
        # A model speaks anew when all its calls are answered, those cut off by a crash too.
        back = bool(self._out) and entry.message_id != self._message_id
        if back:
            self._out.clear()
        if isinstance(entry, ToolCall) and entry.tool in _SPAWNING and len(self._out) < _MOST:
            self._out.add(entry.call_id)
            self._message_id = entry.message_id
        return back

    def _comes_back(self, result: ToolResult) -> bool:
        if result.call_id not in self._out:
            return False
        self._out.discard(result.call_id)
        return not self._out


def has_ended(entry: Entry) -> bool:
    """Whether a subagent says so with this entry. Old versions of the CLI do not say it."""
    return isinstance(entry, Text) and entry.stop_reason == "end_turn"
