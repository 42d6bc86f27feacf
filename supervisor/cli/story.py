"""The story of a session while it is told: the lines of its messages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

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

from supervisor.cli.beats import SHOWN, Beat, beats_of_event, call_of, result_of
from supervisor.core.decision import Choice
from supervisor.core.text import one_line

__all__ = ["Story"]


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
                yield Beat("agent", "", one_line(block.text, SHOWN))
            elif isinstance(block, ToolUseBlock):
                yield call_of(block.name, block.input)
    elif isinstance(message, UserMessage) and isinstance(message.content, list):
        for item in message.content:
            if isinstance(item, ToolResultBlock):
                yield result_of(_content(item.content), bool(item.is_error))
    elif isinstance(message, SystemMessage) and message.subtype.startswith("lucid_"):
        yield from beats_of_event(message.subtype.removeprefix("lucid_"), message.data)
    elif isinstance(message, SystemMessage) and message.subtype == "api_retry":
        yield _retry(message.data)


def _retry(data: Mapping[str, Any]) -> Beat:
    """The CLI's word that a model call failed and will be tried again."""
    again = f"try {data.get('attempt')} of {data.get('max_retries')} failed, trying again"
    status = data.get("error_status") or data.get("error") or "error"
    return Beat("api", one_line(str(status), 40), one_line(again, SHOWN))


def _in_brief(message: Message) -> Iterator[Beat]:
    if isinstance(message, ResultMessage) and message.result and not message.is_error:
        yield Beat("agent", "", one_line(message.result, SHOWN))
    elif isinstance(message, SystemMessage) and message.subtype == "lucid_decision":
        if message.data["choice"] == Choice.ACT:
            yield from beats_of_event("verdict", message.data["verdict"])
            yield from beats_of_event("decision", message.data)
    elif not (isinstance(message, SystemMessage) and message.subtype == "lucid_verdict"):
        for beat in _in_full(message):
            if beat.kind != "agent" and (beat.kind, beat.title) != ("result", "ok"):
                yield beat


def _content(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")
