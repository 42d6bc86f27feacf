"""`Context`: what a scenario can ask of the conversation that a request carries."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from supervisor.testing.request import Block, Message, Request, as_blocks

__all__ = ["AgentKind", "Call", "Context", "RequestKind", "Result"]

RequestKind = Literal["ordinary", "compaction"]
AgentKind = Literal["main", "subagent"]

# Claude Code 2.1.330 begins each of its compaction prompts (whole, recent, up to a
# point) with these words. In SDK mode it makes no other request of its own.
_COMPACTION = "Your task is to create a detailed summary of "
# Its system prompt says so of a subagent: custom agents carry only the first mark.
_SUBAGENT = ("cc_is_subagent=true", "You are an agent for Claude Code")


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call in the context; `input` is JSON with sorted keys and no spaces."""

    id: str
    tool: str
    input: str


@dataclass(frozen=True, slots=True)
class Result:
    """A tool result in the context; `tool` is empty where its call is not there."""

    call_id: str
    tool: str
    text: str
    is_error: bool


@dataclass(frozen=True, slots=True)
class Context:
    """The properties of one request's conversation."""

    request: RequestKind
    agent: AgentKind
    texts: tuple[str, ...]
    """Every text: prompts, reminders, what the model wrote and thought, tool results."""
    told: tuple[str, ...]
    """Texts put to the model: prompts and reminders, without tool results."""
    last: tuple[str, ...]
    """Texts of the messages after the model's last one, tool results among them."""
    calls: tuple[Call, ...]
    results: tuple[Result, ...]
    model: str = ""
    """The model that is asked, by its name."""
    effort: str = ""
    """How much it is to think; empty where the request does not say."""

    @property
    def characters(self) -> int:
        """How long the conversation is: its texts and its calls' inputs."""
        return sum(map(len, self.texts)) + sum(len(call.input) for call in self.calls)

    @classmethod
    def of(cls, request: Request) -> Context:
        """Read a request's context."""
        calls = tuple(_calls(request.messages))
        told = tuple(_texts(m for m in request.messages if m.role != "assistant"))
        newest = _after_last_reply(request.messages)
        return cls(
            request=_kind(newest),
            agent=_agent(request),
            texts=tuple(_all_texts(request.messages)),
            told=told,
            last=tuple(_all_texts(newest)),
            calls=calls,
            results=tuple(_results(request.messages, {call.id: call.tool for call in calls})),
            model=request.model,
            effort=str(request.output_config.get("effort") or ""),
        )


def _after_last_reply(messages: list[Message]) -> list[Message]:
    replies = [index for index, message in enumerate(messages) if message.role == "assistant"]
    return messages[replies[-1] + 1 :] if replies else messages


def _texts(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        for block in message.blocks:
            if block.type == "text":
                yield block.text


def _all_texts(messages: Iterable[Message]) -> Iterator[str]:
    for message in messages:
        for block in message.blocks:
            if block.type == "tool_result":
                yield _result_text(block)
            elif block.type in ("text", "thinking"):
                yield block.text or block.thinking


def _result_text(block: Block) -> str:
    return "\n".join(part.text for part in as_blocks(block.content) if part.type == "text")


def _calls(messages: Iterable[Message]) -> Iterator[Call]:
    for message in messages:
        for block in message.blocks:
            if block.type == "tool_use":
                yield Call(block.id, block.name, _canonical(block.input))


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _results(messages: Iterable[Message], tools: dict[str, str]) -> Iterator[Result]:
    for message in messages:
        for block in message.blocks:
            if block.type == "tool_result":
                tool = tools.get(block.tool_use_id, "")
                yield Result(block.tool_use_id, tool, _result_text(block), bool(block.is_error))


def _kind(newest: list[Message]) -> RequestKind:
    asked = any(_COMPACTION in text for text in _texts(newest))
    return "compaction" if asked else "ordinary"


def _agent(request: Request) -> AgentKind:
    system = "\n".join(block.text for block in as_blocks(request.system))
    return "subagent" if any(mark in system for mark in _SUBAGENT) else "main"
