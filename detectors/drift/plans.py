"""A plan to find things out, and whether anything was found out since."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterator
from zlib import crc32

from detectors._awaited import Awaited
from supervisor.core.entry import Text, ToolCall, ToolResult

__all__ = ["Inquiry"]

_READ = 2_000
"""Characters of a text, of arguments and of a result that are read."""
_MOST_WORDS = 256
"""Different words of a call that are kept until its result."""
_STEP = re.compile(r"^[ \t]{0,8}(?:[0-9]{1,2}[.)]|step [0-9]{1,2}:?)[ \t]+(.{1,300})", re.M | re.I)
_INQUIRES = re.compile(
    r"\b(?:search|look(?:ing)? ?up|locate|retriev\w+|gather|obtain|fetch|consult|research\w*"
    r"|request|ask|query|access|download|inspect|visit|browse)\b",
    re.IGNORECASE,
)
_TOOL_NAME = re.compile(r"\b[a-z]{2,20}(?:_[a-z0-9]{1,20}){1,5}\b")
_HANDOVER = frozenset({"final_answer", "attempt_completion"})
_WORD = re.compile(r"[a-z]{4,24}")
_WENT_WRONG = re.compile(r"\b(?:error|traceback|failed)\b", re.IGNORECASE)
_HEAD = 200


class Inquiry:
    """Follows one objective: the first plan to inquire, and what calls have told since."""

    def __init__(self, fewest_steps: int, novel_words: int) -> None:
        self._fewest_steps = fewest_steps
        self._novel_words = novel_words
        self.planned_at = 0
        """Entry of the plan; 0 while there is none."""
        self.step = ""
        """The first step of the plan that inquires."""
        self.told = False
        """Whether a call has told something."""
        self._tools: frozenset[str] = frozenset()
        self._awaited = Awaited["array[int]"]()

    def hear(self, entry: Text) -> None:
        """Look for a plan in the agent's words."""
        if self.told or self.planned_at:
            return
        text = entry.text[: 2 * _READ]
        if str(self._fewest_steps) not in text:
            return
        steps = _STEP.findall(text)
        inquiring = [step for step in steps if _inquires(step)]
        if len(steps) >= self._fewest_steps and inquiring:
            self.planned_at, self.step = entry.seq, inquiring[0]
            self._tools = frozenset(name for step in inquiring for name in _tools(step))

    def begin(self, call: ToolCall) -> None:
        """Remember what a call held, to tell later what its result adds."""
        if not self.planned_at:
            self.told = True  # it went to work without a plan: there is none to hold it to
        if self.told:
            return
        self._awaited.add(call.call_id, array("H", _marks(_given(call))[:_MOST_WORDS]))

    def complete(self, result: ToolResult) -> None:
        """See whether a call has told something."""
        given = self._awaited.pop(result.call_id)
        if given is None or self.told or result.is_error:
            return
        text = result.text[:_READ]
        if not _WENT_WRONG.search(text[:_HEAD]):
            self.told = len(set(_marks(text)).difference(given)) >= self._novel_words
        if self.told:
            self._awaited.clear()

    def inquires_itself(self, call: ToolCall) -> bool:
        """Whether a call that hands over also calls, in code, a tool that was planned."""
        given = _given(call)
        return any(f"{tool}(" in given for tool in self._tools)


def _inquires(step: str) -> bool:
    return _INQUIRES.search(step) is not None or any(_tools(step))


def _tools(step: str) -> Iterator[str]:
    return (name for name in _TOOL_NAME.findall(step) if name not in _HANDOVER)


def _given(call: ToolCall) -> str:
    return bytes(memoryview(call.input)[: 2 * _READ]).decode(errors="ignore")


def _marks(text: str) -> list[int]:
    """The different words of a text as numbers of 16 bits, which are small to keep."""
    return list({crc32(word.encode()) & 0xFFFF: None for word in _WORD.findall(text.lower())})
