"""The bulky results that a window holds, and which of them are of no use any more."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter
from zlib import crc32

from detectors._awaited import Awaited
from supervisor.core.entry import ToolCall, ToolResult

__all__ = ["CHARACTERS_A_TOKEN", "Held", "HeldResults", "changes"]

CHARACTERS_A_TOKEN = 4
"""The usual estimate for English and code."""
_BULKY = 2_000
"""Characters from which a result is worth masking: some 500 tokens."""
_MOST = 16
"""Results remembered, the smallest dropped first; bounds memory."""
_COMPARED = 8_000
"""Characters of a result, and bytes of arguments, by which one is told from others besides
its length."""
_HEAD = 1_024
"""Bytes of a call's arguments that are looked at for what it reads or writes."""

_TARGET = re.compile(rb'"(?:file_path|notebook_path|path|url)"\s*:\s*"((?:[^"\\]|\\.){1,400})')
_COMMAND = re.compile(rb'"(?:command|cmd)"\s*:\s*"')
_EDITORS = re.compile(
    r"edit|write|create|update|insert|replace|patch|delete|remove|move|^(?:Task|Agent)$",
    re.IGNORECASE,
)
"""Names of tools that change something, or have a subagent do so."""
_LOOKS = re.compile(
    rb"\s*(?:cd [^&;]*(?:&&|;)\s*)?(?:(?:cat|cut|diff|du|echo|env|fd|file|find|grep|head|jq|less"
    rb"|ls|nl|ps|pwd|rg|sort|stat|tail|tree|type|wc|which)\b|sed\s+-n\b"
    rb"|git\s+(?:diff|log|show|status|blame|branch|grep|ls-files|rev-parse)\b)"
)
"""Shell commands that only look. Any other may have changed something."""
_REDIRECTS = re.compile(rb"(?<![0-9&<=-])>(?!>?\s*/dev/null|&)|<<|-(?:delete|exec)\b")


@dataclass(slots=True, frozen=True)
class Held:
    """A bulky result that stands in the window."""

    seq: int
    tokens: int
    target: int
    call: int
    result: int


_tokens = attrgetter("tokens")


@dataclass(slots=True, frozen=True)
class _Asked:
    seq: int
    target: int
    call: int


class HeldResults:
    """Follows calls and their results. Constant time, bounded state."""

    def __init__(self) -> None:
        self._awaited = Awaited[_Asked]()
        self._held: dict[int, Held] = {}
        self._outdated: set[int] = set()
        self.wasted_tokens = 0
        """Of the results that were read anew since, or whose file was written."""

    def called(self, entry: ToolCall) -> None:
        """Take a call: what it writes is outdated from now on."""
        view = memoryview(entry.input)
        found = _TARGET.search(bytes(view[:_HEAD]))
        call = crc32(bytes(view[:_COMPARED]), crc32(entry.tool.encode(), len(view)))
        target = crc32(found[1]) if found else call
        if found and _EDITORS.search(entry.tool):
            self._outdate(held for held in self._held.values() if held.target == target)
        self._awaited.add(entry.call_id, _Asked(entry.seq, target, call))

    def answered(self, entry: ToolResult) -> int:
        """Take a result; the `seq` of its call, or its own."""
        asked = self._awaited.pop(entry.call_id)
        if asked is None:
            return entry.seq
        if len(entry.text) >= _BULKY:
            self._hold(entry, asked)
        return asked.seq

    def _hold(self, entry: ToolResult, asked: _Asked) -> None:
        result = crc32(entry.text[:_COMPARED].encode(errors="replace"), len(entry.text))
        self._outdate(
            held for held in self._held.values() if held.call == asked.call or held.result == result
        )
        tokens = len(entry.text) // CHARACTERS_A_TOKEN
        self._held[entry.seq] = Held(entry.seq, tokens, asked.target, asked.call, result)
        if len(self._held) > _MOST:
            self._drop(min(self._held.values(), key=_tokens))

    def _outdate(self, those: Iterable[Held]) -> None:
        for held in those:
            if held.seq not in self._outdated:
                self._outdated.add(held.seq)
                self.wasted_tokens += held.tokens

    def _drop(self, held: Held) -> None:
        del self._held[held.seq]
        if held.seq in self._outdated:
            self._outdated.discard(held.seq)
            self.wasted_tokens -= held.tokens

    def outdated(self) -> tuple[int, ...]:
        """Results to mask, ascending."""
        return tuple(sorted(self._outdated))

    def largest(self) -> Held | None:
        """The one that takes most of the window."""
        return max(self._held.values(), key=_tokens, default=None)


def changes(entry: ToolCall) -> bool:
    """Whether something read before may read differently after the call.

    Unknown tools are taken to look, as most do.
    """
    head = bytes(memoryview(entry.input)[:_HEAD])
    command = _COMMAND.search(head)
    if command is None:
        return _EDITORS.search(entry.tool) is not None
    return not _LOOKS.match(head, command.end()) or _REDIRECTS.search(head) is not None
