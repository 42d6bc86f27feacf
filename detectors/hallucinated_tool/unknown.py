"""Calls of tools that do not exist, again after the agent was told."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from zlib import crc32

from detectors.hallucinated_tool.finding import Call, Finding, Kind
from supervisor.core.entry import ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Severity

__all__ = ["LONGEST_NAME", "UnknownTools"]

LONGEST_NAME = 128
"""Characters; the Messages API refuses longer tool names."""

_KEY = "unknown-tool"
_KNOWN = 4_096
"""Bytes of the names remembered, some 100 tools of MCP servers; the first that were heard
of are dropped first."""
_REMEMBERED_MISSES = 16
_EVIDENCE = 8
_FIRST_MISS_CONFIDENCE = 0.6
_CONFIDENCE = 0.95
_NEAREST = 3
_NEAR = 0.7
"""Similarity from which a name is worth suggesting, by trying names of real tools."""
_HEAD = 400
"""Characters of an error in which it must say that there is no such tool."""

_ANNOUNCES = re.compile(r"(?:no such tool(?: available)?|unknown tool):?\s+['\"`]?\Z")
_NAMES = re.compile(r"\btool ['\"`]?\Z")
_DENIES = re.compile(r"['\"`]? (?:(?:is )?(?:not found|not available|unknown)|does not exist)")
"""What stands before a tool's name, and behind it, where a result denies that it exists."""
_BEFORE = 40
"""Characters before a name that are looked at."""
_STILL_LISTED = "is still listed for this conversation"
"""Claude Code's word for a tool it offered and cannot run now."""

_USUAL = frozenset({"Bash", "Edit", "Glob", "Grep", "Read", "Task", "Write"})
"""Claude Code's core tools: suggested where no listing of the session's has been seen."""

_SERVING = {
    "command": ("Bash",),
    "create": ("Write",),
    "delegate": ("Agent", "Task"),
    "dir": ("Glob", "Bash"),
    "directory": ("Glob", "Bash"),
    "exec": ("Bash",),
    "execute": ("Bash",),
    "fetch": ("WebFetch",),
    "find": ("Grep", "Glob", "Bash"),
    "list": ("Glob", "Bash"),
    "ls": ("Glob", "Bash"),
    "open": ("Read",),
    "patch": ("Edit",),
    "python": ("Bash",),
    "query": ("Grep", "Bash"),
    "replace": ("Edit",),
    "run": ("Bash",),
    "save": ("Write",),
    "search": ("Grep", "Glob", "Bash"),
    "shell": ("Bash",),
    "subagent": ("Agent", "Task"),
    "task": ("Agent", "Task"),
    "terminal": ("Bash",),
    "url": ("WebFetch",),
    "view": ("Read",),
}
"""Words in the names of other systems' tools, and Claude Code's tools for the same."""
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(slots=True)
class _Run:
    """Misses with no call of a real tool in between."""

    onset_seq: int
    told_at: int = 0
    """Entry of the last error: calls made before it could not know."""
    message_id: str | None = None
    times: int = 0

    def takes(self, call: Call) -> bool:
        """Whether this call belongs to the same attempt as the run's last miss."""
        together = call.message_id is not None and call.message_id == self.message_id
        return together or call.seq < self.told_at


class UnknownTools:
    """Knows the tools there are, and counts the calls of those that are not."""

    def __init__(self, *, report_first_miss: bool) -> None:
        self._report_first_miss = report_first_miss
        self._known = b"\n"
        """A name a line, which takes a third of a set's memory."""
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget the misses; what tools there are stays known."""
        self._run: _Run | None = None
        self._missed: dict[int, int] = {}
        """How often, by a checksum of the name."""
        self._evidence: tuple[int, ...] = ()

    def learn(self, names: Iterable[str]) -> None:
        """These exist."""
        for name in names:
            if len(name) <= LONGEST_NAME and not self._knows(name):
                self._known += _line(name)
            while len(self._known) > _KNOWN:
                self._known = self._known[self._known.index(b"\n", 1) :]

    def forget(self, names: Iterable[str]) -> None:
        """These exist no more."""
        for name in names:
            self._known = self._known.replace(b"\n" + _line(name), b"\n")

    def _knows(self, name: str) -> bool:
        return b"\n" + _line(name) in self._known

    def completed(self, call: Call, entry: ToolResult) -> Finding | None:
        """What the result shows of the tool that was called."""
        if entry.is_error and not self._knows(call.tool) and _denies(entry, call.tool):
            return self._miss(call, entry)
        if not entry.is_error:
            self.learn([call.tool])
        self._run = None
        return None

    def _miss(self, call: Call, entry: ToolResult) -> Finding | None:
        self._evidence = (*self._evidence, call.seq, entry.seq)[-_EVIDENCE:]
        if self._run is not None and self._run.takes(call):
            return None
        if self._run is None:
            self._run = _Run(call.seq)
        self._run.times += 1
        self._run.told_at, self._run.message_id = entry.seq, call.message_id
        times = max(self._run.times, self._times_missed(call.tool))
        if times == 1 and not self._report_first_miss:
            return None
        return self._finding(call, self._run.onset_seq, times)

    def _times_missed(self, tool: str) -> int:
        name = crc32(tool.encode(errors="replace"))
        times = self._missed.pop(name, 0) + 1
        self._missed[name] = times
        if len(self._missed) > _REMEMBERED_MISSES:
            del self._missed[next(iter(self._missed))]
        return times

    def _finding(self, call: Call, onset_seq: int, times: int) -> Finding:
        nearest = tuple(self._nearest(call.tool))
        tool = one_line(call.tool, LONGEST_NAME)
        again = "" if times == 1 else f", miss {times}"
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        return Finding(
            Kind.UNKNOWN_TOOL,
            onset_seq,
            self._evidence,
            _FIRST_MISS_CONFIDENCE if times == 1 else _CONFIDENCE,
            f"Called {tool}, a tool that does not exist{again}{hint}.",
            _KEY,
            {"tool": tool, "nearest": nearest, "times": times},
            Severity.INFO if times == 1 else Severity.WARNING,
        )

    def _nearest(self, tool: str) -> Iterator[str]:
        known = set(self._known.decode().split("\n")) - {""}
        if _USUAL.isdisjoint(known):
            known |= _USUAL
        wanted = [name for word in _words(tool) for name in _SERVING.get(word, ())]
        near = sorted(((_nearness(tool, name, wanted), name) for name in known), key=_best_first)
        for nearness, name in near[:_NEAREST]:
            if nearness >= _NEAR:
                yield name


def _line(name: str) -> bytes:
    return f"{' '.join(name.split())}\n".encode(errors="replace")


def _denies(entry: ToolResult, tool: str) -> bool:
    """Whether the result says that there is no tool of this name."""
    head = entry.text[:_HEAD].lower()
    if "tool" not in head or _STILL_LISTED in head:
        return False
    names = {name[:LONGEST_NAME].lower() for name in (tool, _without_server(tool))}
    return any(_denied(head, at, len(name)) for name in names for at in _places(head, name))


def _places(head: str, name: str) -> Iterator[int]:
    at = head.find(name)
    while at >= 0:
        yield at
        at = head.find(name, at + 1)


def _denied(head: str, at: int, length: int) -> bool:
    before, behind = head[max(0, at - _BEFORE) : at], head[at + length :]
    if _NAMES.search(before) and _DENIES.match(behind):
        return True
    inside = behind[:1].isalnum() or behind[:1] == "_"
    return not inside and _ANNOUNCES.search(before) is not None


def _without_server(name: str) -> str:
    """An MCP tool's own name, from `mcp__SERVER__NAME`."""
    return name.rpartition("__")[2] or name


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _nearness(invented: str, real: str, wanted: list[str]) -> float:
    """0..1: alike in spelling, all of one in the other, or made for the same purpose."""
    one, other = _without_server(invented), _without_server(real)
    alike = SequenceMatcher(None, one.lower(), other.lower(), autojunk=False).ratio()
    words = set(_words(other))
    within = 0.85 if words and words <= set(_words(one)) else 0.0
    purpose = 0.75 - 0.01 * wanted.index(real) if real in wanted else 0.0
    return max(alike, within, purpose)


def _best_first(scored: tuple[float, str]) -> tuple[float, str]:
    return -scored[0], scored[1]
