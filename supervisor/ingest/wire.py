"""The parts of a Claude Code transcript line that Lucid reads, and nothing else.

Every field has a default and most may be null, so that a record lacking one is still
read. `read` is strict first and lenient second: a field of a wrong type then falls back
to its default, and the rest of the record is kept.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from datetime import datetime
from functools import cache
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

__all__ = [
    "ABSENT",
    "KNOWN_TYPES",
    "Attachment",
    "Block",
    "CompactMetadata",
    "Definition",
    "Failure",
    "Head",
    "Line",
    "Malformed",
    "Message",
    "Origin",
    "Property",
    "QuotaLimits",
    "Record",
    "Schema",
    "Tool",
    "WireUsage",
    "blocks",
    "is_string",
    "line",
    "message_of",
    "read",
    "repaired",
    "salvaged_record",
    "text_of",
]

ABSENT = Raw(b"null")

KNOWN_TYPES = frozenset(
    {
        # Steps of the conversation, and what the runtime says about them.
        "assistant",
        "attachment",
        "system",
        "user",
        # Records beside the conversation: those that CLI 2.1.330 writes, and their forerunners.
        "agent-color",
        "agent-name",
        "agent-setting",
        "agent_metadata",
        "ai-title",
        "api-request",
        "api-request-blob",
        "api-request-resumed",
        "api-request-shape",
        "artifact-autoreact-ledger",
        "artifact-comment-monitor",
        "atis-latch",
        "attribution-snapshot",
        "bridge-session",
        "content-replacement",
        "continued-in",
        "cost-state",
        "custom-title",
        "data-flow-incomplete",
        "data-flow-records",
        "derived-from",
        "dev-mods",
        "ended-by-model",
        "file-history-delta",
        "file-history-snapshot",
        "fork-context-ref",
        "frame-link",
        "history-suppression",
        "isolation-latch",
        "last-prompt",
        "memory-mode",
        "mode",
        "observer-ref",
        "permission-mode",
        "pr-link",
        "progress",
        "queue-operation",
        "relocated",
        "resume-head-vouch",
        "session-owner",
        "summary",
        "tag",
        "tools-used",
        "worktree-state",
        # Messages of the stream-json output that are no transcript records.
        "rate_limit_event",
        "result",
        "stream_event",
        "tool_progress",
    }
)
"""Record types that are read as what they are; any other becomes an `unknown` entry."""


class Origin(Struct):
    """Where a user record came from, in newer versions."""

    kind: str | None = None


class CompactMetadata(Struct, rename="camel"):
    """What a compaction boundary says about itself."""

    trigger: str | None = None
    pre_tokens: int | None = None


class QuotaLimits(Struct, rename="camel"):
    """A usage limit that a model call ran into."""

    resets_at: float | None = None
    """Seconds since 1970."""


class Head(Struct, rename="camel"):
    """A line without its message; nested values stay raw until they are needed."""

    type: str = ""
    subtype: str | None = None
    uuid: str | None = None
    parent_uuid: str | None = None
    timestamp: datetime | None = None
    is_sidechain: bool | None = None
    agent_id: str | None = None
    is_meta: bool | None = None
    is_compact_summary: bool | None = None
    is_api_error_message: bool | None = None
    api_error_status: int | None = None
    api_error: str | None = None
    retry_in_ms: float | None = None
    quota_limits: QuotaLimits | None = None
    prompt_source: str | None = None
    origin: Origin | None = None
    compact_metadata: CompactMetadata | None = None
    attachment: Raw = ABSENT
    error: Raw = ABSENT
    tools: Raw = ABSENT


class WireUsage(Struct):
    """Token counts as the Messages API names them."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Block(Struct):
    """One content block of any type."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: Raw = ABSENT
    tool_use_id: str | None = None
    content: Raw = ABSENT
    is_error: bool | None = None


class Message(Struct):
    """A user's or the model's message."""

    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    content: list[Block] | str | None = None


class Line(Head, rename="camel"):
    """A line as nearly all are: read in one go, since each part is long."""

    message: Message | None = None


class Record(Head, rename="camel"):
    """A line whose message is of another shape."""

    message: Raw = ABSENT


class _Message(Struct):
    id: str | None = None
    model: str | None = None
    stop_reason: str | None = None
    usage: WireUsage | None = None
    content: Raw = ABSENT


class Schema(Struct, rename="camel"):
    """The JSON schema of a tool's arguments, its top level."""

    properties: dict[str, Raw] = {}
    required: tuple[str, ...] = ()
    additional_properties: Raw = ABSENT


class Property(Struct):
    """The schema of one parameter."""

    type: Raw = ABSENT


class Definition(Struct):
    """A tool as the service is told of it."""

    input_schema: Raw = ABSENT


class Tool(Struct):
    """A tool of a listing."""

    name: str | None = None
    schema: Raw = ABSENT
    """Its definition, description included; null for most."""


class Attachment(Struct, rename="camel"):
    """Context that the runtime put beside the conversation."""

    type: str = ""
    added_names: list[str] | None = None
    readded_names: list[str] | None = None
    removed_names: list[str] | None = None
    tools: list[Tool] | None = None
    prompt: Raw = ABSENT
    command_mode: str | None = None


class Failure(Struct):
    """The error object of a failed model call; the service nests one in another."""

    status: int | None = None
    message: str | None = None
    formatted: str | None = None
    code: str | None = None
    error: Raw = ABSENT


class Malformed(Exception):
    """The line is no JSON object. The text says why; `read` never lets it out."""


_Shape = TypeVar("_Shape", bound=Struct)
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ITEMS = msgspec.json.Decoder(list[Raw])
_BLOCKS = msgspec.json.Decoder(list[Block])
_LINE = msgspec.json.Decoder(Line)
_TEXT = msgspec.json.Decoder(str)


@cache
def _decoder(shape: type[_Shape]) -> msgspec.json.Decoder[_Shape]:
    return msgspec.json.Decoder(shape)


def read(shape: type[_Shape], raw: bytes | Raw) -> _Shape:
    """`raw`, a JSON object, as a `shape`; fields of a wrong type get their default.

    Raises `msgspec.ValidationError` where it is no object, and other errors where it
    is no JSON that msgspec can read: see `repaired`.
    """
    try:
        record: _Shape = _decoder(shape).decode(raw)
        return record
    except msgspec.ValidationError:
        return _salvaged(shape, raw)


def line(raw: bytes) -> Line | Record:
    """A transcript line. Raises as `read` does."""
    try:
        return _LINE.decode(raw)
    except msgspec.ValidationError:
        return read(Record, raw)


def message_of(line: Line | Record) -> tuple[Message, list[Block]]:
    """A line's message, and its content as blocks; a string counts as one text block.

    Raises `msgspec.ValidationError` where it has none.
    """
    if isinstance(line, Line) and (message := line.message) is not None:
        content = message.content
        if isinstance(content, str):
            return message, [Block(type="text", text=content)]
        return message, blocks(ABSENT) if content is None else content
    found = read(_Message, line.message if isinstance(line, Record) else ABSENT)
    message = Message(found.id, found.model, found.stop_reason, found.usage)
    return message, blocks(found.content)


def _salvaged(shape: type[_Shape], raw: bytes | Raw) -> _Shape:
    found = _FIELDS.decode(raw)
    kept: dict[str, object] = {}
    for field in msgspec.structs.fields(shape):
        if field.encode_name in found:
            with suppress(msgspec.ValidationError):
                kept[field.name] = msgspec.json.decode(found[field.encode_name], type=field.type)
    return shape(**kept)


def blocks(content: Raw) -> list[Block]:
    """A message's content as blocks; a string counts as one text block.

    Raises `msgspec.ValidationError` where it is neither a list nor a string.
    """
    if is_string(content):
        return [Block(type="text", text=_TEXT.decode(content))]
    try:
        return _BLOCKS.decode(content)
    except msgspec.ValidationError:
        return [_block(item) for item in _ITEMS.decode(content)]


def _block(item: Raw) -> Block:
    try:
        return read(Block, item)
    except msgspec.ValidationError:  # not an object: a block of no known type
        return Block()


def is_string(value: Raw) -> bool:
    """Whether a raw JSON value is a string."""
    return bytes(memoryview(value)[:1]) == b'"'


def text_of(content: Raw) -> str:
    """The text of a tool result's or prompt's content, images left out.

    A content without any text block (a server tool's result list, an error object) is
    given as its JSON, so that equal results have equal texts.
    """
    if content == ABSENT:
        return ""
    if is_string(content):
        return _TEXT.decode(content)
    try:
        parts = blocks(content)
    except msgspec.ValidationError:
        return bytes(content).decode()
    texts = [part.text for part in parts if part.text is not None]
    if texts or all(part.type in {"image", "document"} for part in parts):
        return "\n".join(texts)
    return bytes(content).decode()


def repaired(raw: bytes) -> bytes:
    """JSON that msgspec can read, from a line that it cannot but Python's `json` can.

    Lone surrogates, which JavaScript writes where it cuts a text inside an emoji,
    become U+FFFD; NaN and infinities become null; NUL bytes, which a crash can leave
    before a line, are dropped. Raises `Malformed` where the line is no JSON object.
    """
    try:
        text = raw.lstrip(b"\0").decode("utf-8-sig")
        value = json.loads(text, parse_constant=lambda _: None)
    except UnicodeDecodeError as error:
        raise Malformed(f"invalid UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise Malformed(f"malformed JSON at character {error.pos}: {error.msg}") from error
    except RecursionError as error:
        raise Malformed("JSON nested too deeply") from error
    except ValueError as error:
        raise Malformed(f"malformed JSON: {error}") from error
    if not isinstance(value, dict):
        raise Malformed(f"a JSON {type(value).__name__} where an object belongs")
    clean = json.dumps(value, ensure_ascii=False)
    return clean.encode("utf-16", "surrogatepass").decode("utf-16", "replace").encode()


_HEAD_FIELD = re.compile(rb'"(uuid|parentUuid|timestamp|type)"\s*:\s*"([^"\\]{1,64})"')
_HEAD_LIMIT = 1 << 20
"""Bytes of a malformed line that are searched for its head."""


def salvaged_record(raw: bytes) -> Record:
    """As much of a malformed line's head as a search for its fields finds.

    The outermost of several values cannot be told; the line's own type is the one that
    is known, and its own uuid stands before or after its message, never in it.
    """
    record = Record()
    for name, value in _HEAD_FIELD.findall(raw[:_HEAD_LIMIT]):
        text = value.decode("utf-8", "replace")
        if name == b"type" and text in KNOWN_TYPES:
            record.type = record.type or text
        elif name == b"uuid":
            record.uuid = record.uuid or text
        elif name == b"parentUuid":
            record.parent_uuid = record.parent_uuid or text
        elif name == b"timestamp":
            record.timestamp = record.timestamp or _moment(text)
    return record


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None
