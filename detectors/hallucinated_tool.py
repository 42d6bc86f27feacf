"""Invented tools: the agent calls a tool that does not exist, again after being told.

The evidence is the tool's own error result: it says that there is no such tool and
names the one that was called. A tool that the agent was told of, or that has worked
before, is not invented: where such a tool is gone, the infrastructure failed.

Most agents correct themselves when they read that error, so a first miss is no failure:
it is found only where a policy sets `report_first_miss`, with a confidence of 0.6. The
next miss is one, with 0.95, if no other tool was called in between or if it is the same
name again. Parallel calls of one message count as one miss: the agent was not told in
between. Another invented name each time is one failure still: they share a key.

The confidences are judgement, not measurement: none of the 153 Claude Code transcripts
of the corpora's development half holds such an error, and nothing is found in them.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict

__all__ = ["HallucinatedTool", "HallucinatedToolConfig"]

_KEY = "unknown-tool"
_LONGEST_NAME = 128
"""Characters; the Messages API refuses longer tool names."""
_KNOWN = 256
"""Tools remembered, the longest unheard of dropped first; bounds memory."""
_OPEN_CALLS = 32
"""Calls awaiting a result; more of them at once than a model asks for in one message."""
_REMEMBERED_MISSES = 16
_EVIDENCE = 8
_FIRST_MISS_CONFIDENCE = 0.6
_CONFIDENCE = 0.95
_NEAREST = 3
_NEAR = 0.7
"""Similarity from which a name is worth suggesting, by trying names of real tools."""
_HEAD = 400
"""Characters of an error in which it must say that there is no such tool."""

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


class HallucinatedToolConfig(DetectorConfig):
    """When a miss counts."""

    report_first_miss: bool = False
    """Whether a miss counts before the agent was told that there is no such tool. Off,
    because an agent that reads the error and goes on with a real tool needs no help."""


@dataclass(slots=True, frozen=True)
class _Call:
    tool: str
    seq: int
    message_id: str | None


@dataclass(slots=True)
class _Run:
    """Misses with no call of a real tool in between."""

    onset_seq: int
    told_at: int = 0
    """Entry of the last error: calls made before it could not know."""
    message_id: str | None = None
    times: int = 0

    def takes(self, call: _Call) -> bool:
        """Whether this call belongs to the same attempt as the run's last miss."""
        together = call.message_id is not None and call.message_id == self.message_id
        return together or call.seq < self.told_at


class HallucinatedTool(Detector):
    """Finds calls of tools that do not exist, and the real tools nearest to them."""

    name = "hallucinated_tool"
    failure_mode = FailureMode.HALLUCINATED_TOOL
    Config = HallucinatedToolConfig
    config: HallucinatedToolConfig

    def __init__(self, config: HallucinatedToolConfig | None = None) -> None:
        super().__init__(config)
        self._known: dict[str, None] = {}
        self._open: dict[str, _Call] = {}
        self._forget_misses()

    def _forget_misses(self) -> None:
        self._run: _Run | None = None
        self._missed: dict[str, int] = {}
        self._evidence: deque[int] = deque(maxlen=_EVIDENCE)

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Learn which tools there are; judge each tool result, in constant time."""
        match entry:
            case ToolCall():
                self._begin(entry)
            case ToolResult():
                return self._complete(entry)
            case Notice():
                self._learn(entry.tools_added)
                for name in entry.tools_removed:
                    self._known.pop(name, None)
            case Prompt(origin=Origin.USER):
                self._forget_misses()
        return ()

    def _begin(self, entry: ToolCall) -> None:
        if len(self._open) >= _OPEN_CALLS:
            del self._open[next(iter(self._open))]
        self._open[entry.call_id] = _Call(entry.tool, entry.seq, entry.message_id)

    def _learn(self, names: Iterable[str]) -> None:
        for name in names:
            if len(name) > _LONGEST_NAME:
                continue
            self._known.pop(name, None)
            self._known[name] = None
            if len(self._known) > _KNOWN:
                del self._known[next(iter(self._known))]

    def _complete(self, entry: ToolResult) -> Iterable[Verdict]:
        call = self._open.pop(entry.call_id, None)
        if call is None:
            return ()
        if call.tool not in self._known and _denies(entry, call.tool):
            return self._miss(call, entry)
        if not entry.is_error:
            self._learn([call.tool])
        self._run = None
        return ()

    def _miss(self, call: _Call, entry: ToolResult) -> Iterable[Verdict]:
        self._evidence.extend((call.seq, entry.seq))
        if self._run is not None and self._run.takes(call):
            return ()
        if self._run is None:
            self._run = _Run(call.seq)
        self._run.times += 1
        self._run.told_at, self._run.message_id = entry.seq, call.message_id
        times = max(self._run.times, self._times_missed(call.tool))
        if times == 1 and not self.config.report_first_miss:
            return ()
        return (self._verdict(call, entry, self._run.onset_seq, times),)

    def _times_missed(self, tool: str) -> int:
        times = self._missed.pop(tool, 0) + 1
        self._missed[tool] = times
        if len(self._missed) > _REMEMBERED_MISSES:
            del self._missed[next(iter(self._missed))]
        return times

    def _verdict(self, call: _Call, entry: ToolResult, onset_seq: int, times: int) -> Verdict:
        nearest = tuple(self._nearest(call.tool))
        tool = one_line(call.tool, _LONGEST_NAME)
        again = "" if times == 1 else f", miss {times}"
        hint = f"; nearest: {', '.join(nearest)}" if nearest else ""
        return Verdict(
            session_id=entry.session_id,
            transcript=entry.transcript,
            agent_id=entry.agent_id,
            seq=entry.seq,
            onset_seq=onset_seq,
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.INFO if times == 1 else Severity.WARNING,
            confidence=_FIRST_MISS_CONFIDENCE if times == 1 else _CONFIDENCE,
            summary=f"Called {tool}, a tool that does not exist{again}{hint}.",
            evidence=Evidence(
                entries=tuple(sorted(set(self._evidence))),
                facts={"tool": tool, "nearest": nearest, "times": times},
            ),
            key=_KEY,
        )

    def _nearest(self, tool: str) -> Iterator[str]:
        listed = not _USUAL.isdisjoint(self._known)
        known = self._known.keys() if listed else self._known.keys() | _USUAL
        wanted = [name for word in _words(tool) for name in _SERVING.get(word, ())]
        near = sorted(((_nearness(tool, name, wanted), name) for name in known), key=_best_first)
        for nearness, name in near[:_NEAREST]:
            if nearness >= _NEAR:
                yield name


def _denies(entry: ToolResult, tool: str) -> bool:
    """Whether the result says that there is no tool of this name."""
    head = entry.text[:_HEAD]
    if not entry.is_error or _STILL_LISTED in head:
        return False
    name = "|".join(re.escape(name[:_LONGEST_NAME]) for name in (tool, _without_server(tool)))
    announced = rf"(?:no such tool(?: available)?|unknown tool):?\s+['\"`]?(?:{name})(?!\w)"
    denied = rf"\btool ['\"`]?(?:{name})['\"`]? (?:is )?(?:not found|not available|unknown)"
    absent = rf"\btool ['\"`]?(?:{name})['\"`]? does not exist"
    return re.search(rf"{announced}|{denied}|{absent}", head, re.IGNORECASE) is not None


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
