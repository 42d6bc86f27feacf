"""What the scripted model reads of a Messages API request, and what it refuses."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

__all__ = ["Block", "Message", "Request", "as_blocks", "decode", "refusal"]


class Block(msgspec.Struct, frozen=True):
    """A content block; fields of block types not named here are left unread."""

    type: str
    text: str = ""
    thinking: str = ""
    id: str = ""
    name: str = ""
    input: object = None
    tool_use_id: str = ""
    content: str | list[Block] | dict[str, object] | None = None
    is_error: bool | None = None
    cache_control: object = None


class Message(msgspec.Struct, frozen=True):
    """One message of the conversation; the CLI's reminders have the role `system`."""

    role: str
    content: str | list[Block]

    @property
    def blocks(self) -> list[Block]:
        """The content as blocks, however it was written."""
        return as_blocks(self.content)


class Request(msgspec.Struct, frozen=True):
    """A request for a message."""

    model: str
    messages: list[Message]
    system: str | list[Block] = ""
    tools: list[msgspec.Raw] = []
    stream: bool = False
    output_config: dict[str, object] = {}


def as_blocks(content: str | list[Block] | dict[str, object] | None) -> list[Block]:
    """Content in its long form; none for content of a shape that holds no text."""
    if isinstance(content, str):
        return [Block(type="text", text=content)]
    return content if isinstance(content, list) else []


def decode(body: bytes) -> Request:
    """Read a request's body. Raises `msgspec.ValidationError` or `DecodeError`."""
    return msgspec.json.decode(body, type=Request)


def refusal(request: Request) -> str | None:
    """Why the real API would answer 400, or None.

    Checked is what a badly cut transcript breaks: messages must be there, a tool call's
    id unique, and each call paired with its result before the model speaks again.
    """
    if not request.messages:
        return "messages: at least one message is required"
    return next(_pairing_faults(request.messages), None)


def _pairing_faults(messages: list[Message]) -> Iterator[str]:
    seen: set[str] = set()
    waiting: set[str] = set()
    previous = ""
    for index, message in enumerate(messages):
        if message.role == "assistant":
            if waiting and previous != "assistant":
                yield _unanswered(index, waiting)
            calls = [block.id for block in message.blocks if block.type == "tool_use"]
            if seen.intersection(calls) or len(set(calls)) < len(calls):
                yield f"messages.{index}: `tool_use` ids must be unique"
            seen.update(calls)
            waiting.update(calls)
        for block in message.blocks:
            if block.type == "tool_result" and block.tool_use_id not in waiting:
                yield (
                    f"messages.{index}: unexpected `tool_use_id` found in `tool_result` blocks: "
                    f"{block.tool_use_id}. Each `tool_result` block must have a corresponding "
                    "`tool_use` block in the previous message."
                )
            waiting.discard(block.tool_use_id)
        previous = message.role
    if waiting:
        yield _unanswered(len(messages), waiting)


def _unanswered(index: int, ids: set[str]) -> str:
    return (
        f"messages.{index - 1}: `tool_use` ids were found without `tool_result` blocks immediately "
        f"after: {', '.join(sorted(ids))}. Each `tool_use` block must have a corresponding "
        "`tool_result` block in the next message."
    )
