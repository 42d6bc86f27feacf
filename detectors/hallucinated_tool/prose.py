"""Tool calls and tool results that the agent wrote into its prose.

A call that stands in a text is never run, and a result that stands there never came. It is
one where it begins a line in the markup that models were trained to call tools in, outside
a code fence, and the message holds no real call. An agent whose prompt or files speak of
such markup may write it too: there, nothing is found.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.hallucinated_tool.finding import Finding, Kind
from supervisor.core.entry import (
    Entry,
    Notice,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.core.text import one_line

__all__ = ["ProseCalls"]

_EDGE = 4_000
"""Characters at either end of a text that are looked at."""
_DISCUSSED = 8_000
"""Characters of a prompt or result in which markup shows that the work is about it."""
_EXCERPT = 120
_CALL_CONFIDENCE = 0.85
_RESULT_CONFIDENCE = 0.9

_MARKUP = ("tool_", "function_", "invoke name=", "<function=")
_CALL = (
    r"<(?:\w+:)?(?:function_calls|tool_call|tool_use|tool_code)>"
    r"|<(?:\w+:)?invoke name=|<function=\w|<\|tool_calls?|\[TOOL_CALLS?\]"
)
_RESULT = r"<(?:\w+:)?(?:function_results?|tool_results?|tool_response|tool_output)>"
_SUBJECT = re.compile(f"{_CALL}|{_RESULT}")
_WRITTEN = re.compile(f"^[ \\t]*(?:(?P<call>{_CALL})|(?P<result>{_RESULT}))", re.MULTILINE)


@dataclass(slots=True, frozen=True)
class _Written:
    seq: int
    message_id: str | None
    is_result: bool
    excerpt: str


class ProseCalls:
    """Waits for the call that should go with what a text shows."""

    def __init__(self) -> None:
        self._pending: _Written | None = None
        self._discussed = False

    def observe(self, entry: Entry) -> Finding | None:
        """Take the next entry; constant time."""
        if isinstance(entry, Notice | Unknown):
            return None
        before, self._pending = self._pending, None
        if before and isinstance(entry, Text | Thinking | ToolCall) and _together(before, entry):
            self._pending = None if isinstance(entry, ToolCall) else before
            return None
        if isinstance(entry, Text):
            self._pending = self._read(entry)
        elif isinstance(entry, Prompt | ToolResult):
            self._discussed = self._discussed or _is_about_markup(entry.text)
        if self._pending and isinstance(entry, Text) and entry.stop_reason == "end_turn":
            return self.settle()
        return _finding(before) if before else None

    def settle(self) -> Finding | None:
        """No call follows."""
        before, self._pending = self._pending, None
        return _finding(before) if before else None

    def _read(self, entry: Text) -> _Written | None:
        if self._discussed:
            return None
        text = entry.text
        parts = (text,) if len(text) <= 2 * _EDGE else (text[:_EDGE], text[-_EDGE:])
        for part in filter(_speaks_of_markup, parts):
            found = _WRITTEN.search(part)
            if found and part.count("```", 0, found.start()) % 2 == 0:
                excerpt = one_line(part[found.start() :], _EXCERPT)
                is_result = found["result"] is not None
                return _Written(entry.seq, entry.message_id, is_result, excerpt)
        return None


def _speaks_of_markup(text: str) -> bool:
    if "<" in text and any(mark in text for mark in _MARKUP):
        return True
    return "[" in text and "TOOL_CALL" in text


def _is_about_markup(text: str) -> bool:
    head = text[:_DISCUSSED]
    return _speaks_of_markup(head) and _SUBJECT.search(head) is not None


def _together(written: _Written, entry: Text | Thinking | ToolCall) -> bool:
    return entry.seq == written.seq or (
        written.message_id is not None and entry.message_id == written.message_id
    )


def _finding(written: _Written) -> Finding:
    what = "result that never came" if written.is_result else "call that was never made"
    return Finding(
        Kind.PROSE_RESULT if written.is_result else Kind.PROSE_CALL,
        written.seq,
        (written.seq,),
        _RESULT_CONFIDENCE if written.is_result else _CALL_CONFIDENCE,
        f"Wrote a tool {what} into its text: {written.excerpt}",
        "prose",
        {"excerpt": written.excerpt},
    )
