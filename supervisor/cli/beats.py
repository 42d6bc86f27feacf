"""What happened in a session, as a person reads it: one line for each thing."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from supervisor.cli.output import short
from supervisor.core.decision import Choice
from supervisor.core.entry import (
    ApiError,
    Compaction,
    Entry,
    Origin,
    Prompt,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.core.text import one_line

__all__ = [
    "LUCIDS",
    "SHOWN",
    "Beat",
    "beats_of_entry",
    "beats_of_event",
    "call_of",
    "result_of",
]

LUCIDS = frozenset({"verdict", "decision", "skipped", "outcome", "incident"})
"""Kinds of beats that are Lucid's doing; the others are the agent's."""

SHOWN = 200
"""Characters shown of anything the agent wrote or read."""

_OWN_LIMIT = 1000
"""Characters shown of what Lucid told the agent."""

_SAYING = ("command", "file_path", "path", "pattern", "query", "url", "prompt", "description")
"""Arguments that say most about a call, the first one present is shown."""

_ERROR_TAG = re.compile(r"</?tool_use_error>(?:Error: )?")


@dataclass(frozen=True)
class Beat:
    """One line of the story: what kind of thing happened, a title and some text."""

    kind: str
    title: str
    text: str
    agent: str = ""
    """The subagent that it happened to; empty for the main agent."""

    @property
    def headline(self) -> str:
        """The agent, where it is not the main one, and the title."""
        agent = f"[{short(self.agent)}]" if self.agent else ""
        return f"{agent} {self.title}".strip()

    def __str__(self) -> str:
        return f"{self.kind:<8}  {'  '.join(filter(None, (self.headline, self.text)))}".rstrip()


def beats_of_event(kind: str, data: Mapping[str, Any]) -> Iterator[Beat]:
    """The lines of one of Lucid's own events, given as plain data."""
    agent = data.get("verdict", data).get("agent_id") or ""
    if kind == "verdict":
        facts = f"{data['severity']}, confidence {data['confidence']:.2f}"
        text = f"{one_line(data['summary'], SHOWN)} ({facts})"
        yield Beat("verdict", data["failure_mode"], text, agent)
    elif kind == "decision":
        title = data["action"] if data["choice"] == Choice.ACT else data["choice"]
        for passed in data["skipped"]:
            yield Beat("skipped", passed["action"], one_line(passed["reason"], SHOWN), agent)
        yield Beat("decision", title, one_line(data["reason"], SHOWN), agent)
    elif kind == "outcome":
        did = f" ({one_line(data['did'], SHOWN)})" if data["did"] else ""
        title = f"{data['action']} {data['status']}"
        yield Beat("outcome", title, one_line(data["reason"], SHOWN) + did, agent)
    else:
        place = f"{one_line(data['place'], 80)}: " if data.get("place") else ""
        source = one_line(data["source"], 60)
        yield Beat("incident", source, place + one_line(data["message"], SHOWN))


def beats_of_entry(entry: Entry) -> Iterator[Beat]:
    """The lines of one stored entry; none for what only the runtime cares about."""
    agent = entry.agent_id or ""
    if isinstance(entry, Prompt):
        limit = _OWN_LIMIT if entry.origin is Origin.LUCID else SHOWN
        yield Beat("prompt", entry.origin, one_line(entry.text, limit), agent)
    elif isinstance(entry, Text):
        yield Beat("agent", "", one_line(entry.text, SHOWN), agent)
    elif isinstance(entry, ToolCall):
        yield replace(call_of(entry.tool, _decoded(entry.input)), agent=agent)
    elif isinstance(entry, ToolResult):
        yield replace(result_of(entry.text, entry.is_error), agent=agent)
    elif isinstance(entry, Compaction):
        why = one_line(entry.trigger or "", 20)
        yield Beat("compact", why, "history replaced by a summary", agent)
    elif isinstance(entry, ApiError):
        message = one_line(entry.message, SHOWN)
        yield Beat("api", str(entry.status or "error"), message, agent)
    elif isinstance(entry, Unknown):
        problem = one_line(entry.problem or "", SHOWN)
        yield Beat("unknown", one_line(entry.type, 40), problem, agent)


def result_of(text: str, is_error: bool) -> Beat:
    """The line of a tool result."""
    if is_error:
        text = _ERROR_TAG.sub("", text[:10_000])
    return Beat("result", "error" if is_error else "ok", one_line(text, SHOWN))


def _decoded(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw).decode(errors="replace")


def call_of(tool: str, arguments: object) -> Beat:
    """The line of a tool call."""
    return Beat("call", one_line(tool, 60), _arguments(arguments))


def _arguments(arguments: object) -> str:
    if isinstance(arguments, dict):
        for name in _SAYING:
            if isinstance(arguments.get(name), str):
                return one_line(arguments[name], SHOWN)
        arguments = msgspec.json.encode(arguments).decode()
    return one_line(str(arguments), SHOWN)
