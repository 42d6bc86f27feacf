"""Tool calls without what varies from run to run, and what they are for."""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from detectors._commands import PARTS, may_change
from detectors.loop.finding import EXCERPT, digest_of
from detectors.loop.words import name_set, word_set
from supervisor.core.entry import ToolCall

__all__ = ["Call", "Span", "call_of"]

_LONGEST_NAME = 128
"""Characters; the Messages API refuses longer tool names."""
_PRECISE_INPUT = 16_384
"""Bytes of arguments up to which they are normalised; longer ones compare as written."""

_COSMETIC = ("description", "reason", "explanation", "thought", "rationale", "justification")
"""Arguments that say why, not what."""
_QUANTITIES = ("limit", "head_limit", "max_results", "max_tokens", "timeout", "timeout_ms")
"""Arguments that say how much of it. A file read again with another limit is the same
call; its answer tells whether there was more to it."""
_IGNORED = frozenset(_COSMETIC + _QUANTITIES)
_PATHS = ("file_path", "path", "filename", "file", "target_file")
_REPLACEMENTS = (("old_string", "new_string"), ("old_str", "new_str"), ("old", "new"))

_WRITERS = re.compile(
    r"(?:^|_)(?:\w*edit|write|create|update|delete|insert|replace|patch|append|save|move|rename"
    r"|remove|add|set|task|agent)(?:_|$)",
    re.IGNORECASE,
)
"""Names of tools that change something, or have a subagent do so."""
_EDITORS = re.compile(
    r"(?:^|_)(?:\w*edit|write|insert|replace|patch|append)(?:_|file|$)", re.IGNORECASE
)
"""Those of them that leave a file as their arguments say."""
_LOOKERS = re.compile(
    r"search|grep|glob|find|list|read|fetch|look_?up|query|^ls$|^view|^open", re.IGNORECASE
)
_SPAWNERS = re.compile(
    r"^(?:task|agent|new_task|dispatch_agent)$|sub_?agent|delegate", re.IGNORECASE
)
_PLANNERS = re.compile(r"todo_?write|todo_?list|(?:^|_)(?:todos?|plan)$", re.IGNORECASE)
_WAITING_TOOLS = frozenset({"BashOutput", "Monitor", "TaskOutput"})

_WAITING_COMMAND = re.compile(r"\b(?:sleep|wait|watch)\b")
_OVERVIEW = re.compile(
    r"\s*(?:cd\s.*|echo\b.*|git\s+(?:-C\s+\S+\s+|--no-pager\s+)*"
    r"(?:status|diff|ls-files)(?:\s+(?:-\S+|HEAD|\.))*\s*)"
)
"""A look at what has changed in a repository, and at no file in particular."""


class Span(msgspec.Struct, frozen=True, gc=False):
    """Lines of a file."""

    path: bytes
    first: int
    last: int


class Call(msgspec.Struct, frozen=True, gc=False):
    """A tool call: what makes it the same as another, and what it may do."""

    digest: bytes
    seq: int
    decision: str
    """Calls of one model message share it."""
    tool: str
    arguments: bytes
    """Their start, as UTF-8 JSON."""
    changes: bool
    """It may change something."""
    edits: bool
    """It leaves a file as its arguments say."""
    waits: bool
    """It waits for something else, whose state may well be the same as before."""
    looks: bool
    """It searches or reads."""
    stock: str | None
    """What it takes stock of, if it does nothing else."""
    query: int
    """A search's words as a set of bits."""
    errand: int
    """The words of what a subagent is to do."""
    named: int
    """The files, numbers and the like that are named in it."""
    span: Span | None
    """The lines that it reads."""


class _Tool(msgspec.Struct, frozen=True):
    """What a tool's name says of it."""

    label: str
    """Its name, one text for all calls of it."""
    name: bytes
    changes: bool
    edits: bool
    waits: bool
    looks: bool
    searches: bool
    spawns: bool
    plans: bool


@lru_cache(maxsize=256)
def _tool(name: str) -> _Tool:
    writes = bool(_WRITERS.search(name))
    return _Tool(
        label=name,
        name=name.encode(errors="replace") + b"\0",
        changes=writes,
        edits=bool(_EDITORS.search(name)),
        waits=name in _WAITING_TOOLS,
        looks=not writes and bool(_LOOKERS.search(name)),
        searches="search" in name.lower(),
        spawns=bool(_SPAWNERS.search(name)),
        plans=bool(_PLANNERS.search(name)),
    )


def call_of(entry: ToolCall) -> Call:
    """The call, its arguments in one spelling: key order and white space do not count,
    nor do arguments that say why, or how much."""
    tool = _tool(entry.tool[:_LONGEST_NAME])
    given = _decoded(entry.input)
    command = given.get("command")
    if isinstance(command, str):
        changes, waits = may_change(command), bool(_WAITING_COMMAND.search(command))
        looks, stock = not changes, _stock(command)
    else:
        changes, waits = tool.changes and not _changes_nothing(given), tool.waits
        looks, stock = tool.looks, "the plan" if tool.plans else None
    arguments = _arguments(given) if given else bytes(entry.input)
    return Call(
        digest=digest_of(tool.name, arguments),
        seq=entry.seq,
        decision=entry.message_id or entry.call_id,
        tool=tool.label,
        arguments=arguments[:EXCERPT],
        changes=changes,
        edits=tool.edits,
        waits=waits,
        looks=looks,
        stock=stock,
        query=word_set(given.get("query")) if tool.searches else 0,
        errand=word_set(given.get("prompt")) if tool.spawns else 0,
        named=name_set(given.get("prompt")) if tool.spawns else 0,
        span=_span(given) if tool.looks and "limit" in given else None,
    )


def _decoded(raw: msgspec.Raw) -> dict[str, object]:
    """The arguments by name; none where they are of another shape, or too long."""
    if len(memoryview(raw)) > _PRECISE_INPUT:
        return {}
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _arguments(given: dict[str, object]) -> bytes:
    tidy = {name: _tidy(value) for name, value in given.items() if name not in _IGNORED}
    return msgspec.json.encode(tidy or given, order="deterministic")


def _tidy(value: object) -> object:
    """A string without needless white space; within several lines it may carry meaning."""
    if not isinstance(value, str):
        return value
    return value.strip() if "\n" in value else " ".join(value.split())


def _changes_nothing(given: dict[str, object]) -> bool:
    """Whether text is to be replaced by itself."""
    return any(old in given and given[old] == given.get(new) for old, new in _REPLACEMENTS)


def _stock(command: str) -> str | None:
    if "git" not in command:
        return None
    parts = [part for part in PARTS.split(command) if part.strip()]
    return "the repository" if all(_OVERVIEW.fullmatch(part) for part in parts) else None


def _span(given: dict[str, object]) -> Span | None:
    path = next((given[name] for name in _PATHS if name in given), None)
    first, count = given.get("offset", 1), given["limit"]
    if not isinstance(path, str) or not isinstance(first, int) or not isinstance(count, int):
        return None
    return Span(digest_of(path.encode(errors="replace")), first, first + max(count, 1) - 1)
