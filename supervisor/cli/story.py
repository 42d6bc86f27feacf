"""The story of a session as a person reads it: one line for each thing that happened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)

from supervisor.core.decision import Choice
from supervisor.core.entry import (
    ApiError,
    Compaction,
    Entry,
    Prompt,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.core.text import one_line

__all__ = ["Beat", "Tally", "beats_of_entry", "beats_of_event", "beats_of_message"]

_WIDTH = 110

_SAYING = ("command", "file_path", "path", "pattern", "query", "url", "prompt", "description")
"""Arguments that say most about a call, the first one present is shown."""


@dataclass(frozen=True)
class Beat:
    """One line of the story: what kind of thing happened, a title and some text."""

    kind: str
    title: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind:<8} {self.title}  {self.text}".rstrip()


def beats_of_message(message: Message) -> Iterator[Beat]:
    """The lines of one message of the stream."""
    if isinstance(message, AssistantMessage):
        for block in message.content:
            if isinstance(block, TextBlock):
                yield Beat("agent", "", one_line(block.text, _WIDTH))
            elif isinstance(block, ToolUseBlock):
                yield Beat("call", one_line(block.name, 60), _arguments(block.input))
    elif isinstance(message, UserMessage) and isinstance(message.content, list):
        for item in message.content:
            if isinstance(item, ToolResultBlock):
                yield _result(_content(item.content), bool(item.is_error))
    elif isinstance(message, SystemMessage) and message.subtype.startswith("lucid_"):
        yield from beats_of_event(message.subtype.removeprefix("lucid_"), message.data)


def beats_of_event(kind: str, data: Mapping[str, Any]) -> Iterator[Beat]:
    """The lines of one of Lucid's own events, given as plain data."""
    if kind == "verdict":
        facts = f"{data['severity']}, confidence {data['confidence']:.2f}"
        yield Beat("verdict", data["failure_mode"], f"{one_line(data['summary'], 160)} ({facts})")
    elif kind == "decision":
        acted = data["choice"] == Choice.ACT
        title = data["action"] if acted else data["choice"]
        for passed in data["skipped"]:
            yield Beat("skipped", passed["action"], one_line(passed["reason"], _WIDTH))
        yield Beat("decision", title, one_line(data["reason"], 160))
    elif kind == "outcome":
        yield Beat("outcome", f"{data['action']} {data['status']}", one_line(data["reason"], 160))
    else:
        place = f"{data['place']}: " if data.get("place") else ""
        yield Beat("incident", data["source"], place + one_line(data["message"], 160))


def beats_of_entry(entry: Entry) -> Iterator[Beat]:
    """The lines of one stored entry; none for what only the runtime cares about."""
    if isinstance(entry, Prompt):
        yield Beat("prompt", entry.origin, one_line(entry.text, _WIDTH))
    elif isinstance(entry, Text):
        yield Beat("agent", "", one_line(entry.text, _WIDTH))
    elif isinstance(entry, ToolCall):
        yield Beat("call", one_line(entry.tool, 60), _arguments(_decoded(entry.input)))
    elif isinstance(entry, ToolResult):
        yield _result(entry.text, entry.is_error)
    elif isinstance(entry, Compaction):
        yield Beat("compact", entry.trigger or "", "history replaced by a summary")
    elif isinstance(entry, ApiError):
        yield Beat("api", str(entry.status or "error"), one_line(entry.message, _WIDTH))
    elif isinstance(entry, Unknown):
        yield Beat("unknown", one_line(entry.type, 40), one_line(entry.problem or "", _WIDTH))


def _result(text: str, is_error: bool) -> Beat:
    return Beat("result", "error" if is_error else "ok", one_line(text, _WIDTH))


def _content(content: object) -> str:
    if isinstance(content, list):
        return " ".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    return str(content or "")


def _decoded(raw: msgspec.Raw) -> object:
    try:
        return msgspec.json.decode(raw)
    except msgspec.DecodeError:
        return bytes(raw).decode(errors="replace")


def _arguments(arguments: object) -> str:
    if isinstance(arguments, dict):
        for name in _SAYING:
            if isinstance(arguments.get(name), str):
                return one_line(arguments[name], _WIDTH)
        arguments = msgspec.json.encode(arguments).decode()
    return one_line(str(arguments), _WIDTH)


@dataclass
class Tally:
    """What a session came to, counted as its messages go by."""

    tool_calls: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    outcomes: list[str] = field(default_factory=list)
    incidents: int = 0
    results: list[ResultMessage] = field(default_factory=list)

    def count(self, message: Message) -> None:
        """Take the next message."""
        if isinstance(message, AssistantMessage):
            self.tool_calls += sum(isinstance(block, ToolUseBlock) for block in message.content)
        elif isinstance(message, ResultMessage):
            self.results.append(message)
        elif isinstance(message, SystemMessage):
            self._count_event(message.subtype, message.data)

    def _count_event(self, subtype: str, data: Mapping[str, Any]) -> None:
        if subtype == "lucid_verdict":
            self.verdicts[data["failure_mode"]] += 1
        elif subtype == "lucid_decision":
            self.decisions[data["action"] if data["choice"] == Choice.ACT else data["choice"]] += 1
        elif subtype == "lucid_outcome":
            self.outcomes.append(f"{data['action']} {data['status']}")
        elif subtype == "lucid_incident":
            self.incidents += 1

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and written over all turns."""
        usages = [result.usage or {} for result in self.results]
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        read = sum(usage.get(name) or 0 for usage in usages for name in names)
        return read, sum(usage.get("output_tokens") or 0 for usage in usages)

    @property
    def cost_usd(self) -> float | None:
        """Dollars, as the CLI counts them; None before the first result."""
        return self.results[-1].total_cost_usd if self.results else None

    @property
    def seconds(self) -> float:
        """Time spent in turns."""
        return sum(result.duration_ms for result in self.results) / 1000

    def lines(self) -> list[tuple[str, str]]:
        """The closing summary: a name and a value each."""
        read, written = self.tokens
        cost = "unknown" if self.cost_usd is None else f"${self.cost_usd:.4f}"
        return [
            ("tool calls", str(self.tool_calls)),
            ("tokens", f"{read:,} in, {written:,} out"),
            ("cost", cost),
            ("verdicts", _counted(self.verdicts)),
            ("decisions", _counted(self.decisions)),
            ("outcomes", ", ".join(self.outcomes) or "none"),
        ] + ([("incidents", str(self.incidents))] if self.incidents else [])


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items()) or "none"
