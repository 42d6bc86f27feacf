"""The story of a session as a person reads it: one line for each thing that happened."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import msgspec
from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    SystemMessage,
    TaskStartedMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

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

__all__ = ["LUCIDS", "Beat", "Story", "beats_of_entry", "beats_of_event"]

LUCIDS = frozenset({"verdict", "decision", "skipped", "outcome", "incident"})
"""Kinds of beats that are Lucid's doing; the others are the agent's."""

_LIMIT = 200
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


class Story:
    """Tells one session's messages in lines."""

    def __init__(self, *, in_brief: bool = False) -> None:
        """`in_brief` leaves out what the agent says in between, results that are no
        errors, and verdicts that lead to no action."""
        self.in_brief = in_brief
        self._tell = _in_brief if in_brief else _in_full
        self._subagents: dict[str, str] = {}

    def beats(self, message: Message) -> Iterator[Beat]:
        """The lines of the next message."""
        if isinstance(message, TaskStartedMessage) and message.tool_use_id:
            self._subagents[message.tool_use_id] = message.task_id
        call_id = getattr(message, "parent_tool_use_id", None)
        agent = self._subagents.get(call_id, call_id) if isinstance(call_id, str) else None
        for beat in self._tell(message):
            yield replace(beat, agent=agent) if agent else beat


def _in_full(message: Message) -> Iterator[Beat]:
    if isinstance(message, AssistantMessage):
        for block in message.content:
            if isinstance(block, TextBlock):
                yield Beat("agent", "", one_line(block.text, _LIMIT))
            elif isinstance(block, ToolUseBlock):
                yield Beat("call", one_line(block.name, 60), _arguments(block.input))
    elif isinstance(message, UserMessage) and isinstance(message.content, list):
        for item in message.content:
            if isinstance(item, ToolResultBlock):
                yield _result(_content(item.content), bool(item.is_error))
    elif isinstance(message, SystemMessage) and message.subtype.startswith("lucid_"):
        yield from beats_of_event(message.subtype.removeprefix("lucid_"), message.data)
    elif isinstance(message, SystemMessage) and message.subtype == "api_retry":
        yield _retry(message.data)


def _retry(data: Mapping[str, Any]) -> Beat:
    """The CLI's word that a model call failed and will be tried again."""
    again = f"try {data.get('attempt')} of {data.get('max_retries')} failed, trying again"
    status = data.get("error_status") or data.get("error") or "error"
    return Beat("api", one_line(str(status), 40), one_line(again, _LIMIT))


def _in_brief(message: Message) -> Iterator[Beat]:
    if isinstance(message, ResultMessage) and message.result and not message.is_error:
        yield Beat("agent", "", one_line(message.result, _LIMIT))
    elif isinstance(message, SystemMessage) and message.subtype == "lucid_decision":
        if message.data["choice"] == Choice.ACT:
            yield from beats_of_event("verdict", message.data["verdict"])
            yield from beats_of_event("decision", message.data)
    elif not (isinstance(message, SystemMessage) and message.subtype == "lucid_verdict"):
        for beat in _in_full(message):
            if beat.kind != "agent" and (beat.kind, beat.title) != ("result", "ok"):
                yield beat


def beats_of_event(kind: str, data: Mapping[str, Any]) -> Iterator[Beat]:
    """The lines of one of Lucid's own events, given as plain data."""
    agent = data.get("verdict", data).get("agent_id") or ""
    if kind == "verdict":
        facts = f"{data['severity']}, confidence {data['confidence']:.2f}"
        text = f"{one_line(data['summary'], _LIMIT)} ({facts})"
        yield Beat("verdict", data["failure_mode"], text, agent)
    elif kind == "decision":
        title = data["action"] if data["choice"] == Choice.ACT else data["choice"]
        for passed in data["skipped"]:
            yield Beat("skipped", passed["action"], one_line(passed["reason"], _LIMIT), agent)
        yield Beat("decision", title, one_line(data["reason"], _LIMIT), agent)
    elif kind == "outcome":
        did = f" ({one_line(data['did'], _LIMIT)})" if data["did"] else ""
        title = f"{data['action']} {data['status']}"
        yield Beat("outcome", title, one_line(data["reason"], _LIMIT) + did, agent)
    else:
        place = f"{one_line(data['place'], 80)}: " if data.get("place") else ""
        source = one_line(data["source"], 60)
        yield Beat("incident", source, place + one_line(data["message"], _LIMIT))


def beats_of_entry(entry: Entry) -> Iterator[Beat]:
    """The lines of one stored entry; none for what only the runtime cares about."""
    agent = entry.agent_id or ""
    if isinstance(entry, Prompt):
        limit = _OWN_LIMIT if entry.origin is Origin.LUCID else _LIMIT
        yield Beat("prompt", entry.origin, one_line(entry.text, limit), agent)
    elif isinstance(entry, Text):
        yield Beat("agent", "", one_line(entry.text, _LIMIT), agent)
    elif isinstance(entry, ToolCall):
        call = _arguments(_decoded(entry.input))
        yield Beat("call", one_line(entry.tool, 60), call, agent)
    elif isinstance(entry, ToolResult):
        yield replace(_result(entry.text, entry.is_error), agent=agent)
    elif isinstance(entry, Compaction):
        why = one_line(entry.trigger or "", 20)
        yield Beat("compact", why, "history replaced by a summary", agent)
    elif isinstance(entry, ApiError):
        message = one_line(entry.message, _LIMIT)
        yield Beat("api", str(entry.status or "error"), message, agent)
    elif isinstance(entry, Unknown):
        problem = one_line(entry.problem or "", _LIMIT)
        yield Beat("unknown", one_line(entry.type, 40), problem, agent)


def _result(text: str, is_error: bool) -> Beat:
    if is_error:
        text = _ERROR_TAG.sub("", text[:10_000])
    return Beat("result", "error" if is_error else "ok", one_line(text, _LIMIT))


def _content(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _decoded(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw).decode(errors="replace")


def _arguments(arguments: object) -> str:
    if isinstance(arguments, dict):
        for name in _SAYING:
            if isinstance(arguments.get(name), str):
                return one_line(arguments[name], _LIMIT)
        arguments = msgspec.json.encode(arguments).decode()
    return one_line(str(arguments), _LIMIT)
