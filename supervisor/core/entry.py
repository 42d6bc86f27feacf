"""`Entry`: one event of a transcript, typed.

A raw transcript line becomes one entry per content block; the blocks of one line
share `seq` and differ in `part`. Entries are derived: the raw line in the store is
the truth, and reading it again yields the same entries.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

__all__ = [
    "LUCID_MARKER",
    "SYNTHETIC_MODEL",
    "ApiError",
    "Compaction",
    "Entry",
    "Notice",
    "Origin",
    "Parameters",
    "Prompt",
    "Text",
    "Thinking",
    "ToolCall",
    "ToolResult",
    "Unknown",
    "Usage",
    "is_output",
]

LUCID_MARKER = "<lucid>"
"""What Lucid's own prompts begin with; it is how a transcript tells them from a user's."""


class Origin(StrEnum):
    """Who put a prompt into the transcript. Only `USER` moves the objective."""

    USER = "user"
    LUCID = "lucid"
    AGENT = "agent"
    """A parent agent's instructions to its subagent."""
    TASK = "task"
    """The runtime's report on background work."""
    COMPACTION = "compaction"
    """The summary that stands in for compacted history."""
    META = "meta"
    """Everything else the runtime injects: command output, caveats, interrupts."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of one model call, as the source counts them."""

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0

    @property
    def context_tokens(self) -> int:
        """Tokens the model read: fresh, cached and newly cached input."""
        return self.input_tokens + self.cache_read_tokens + self.cache_write_tokens


class _Entry(msgspec.Struct, frozen=True, kw_only=True, tag_field="kind"):
    session_id: str
    """The supervised session, the same across forks."""
    seq: int
    """Position in the session, from 1 and without gaps."""
    part: int = 0
    """Which content block of the raw line this is."""
    transcript: str
    """The SDK session id of the transcript it stands in; a fork has another."""
    agent_id: str | None = None
    """The subagent it belongs to, or None for the main agent."""
    uuid: str | None = None
    parent: str | None = None
    at: datetime | None = None
    turn: int = 0
    """Turns begun in this transcript so far; 0 before the first prompt."""
    inherited: bool = False
    """Stood in an earlier transcript (a fork's prefix, a resumed history): it primes
    detectors and is never judged again."""


class Prompt(_Entry, frozen=True, kw_only=True, tag="prompt"):
    """Text put to the agent."""

    text: str
    origin: Origin = Origin.USER


class _Output(_Entry, frozen=True, kw_only=True):
    message_id: str | None = None
    """Shared by all blocks of one model message."""
    model: str | None = None
    stop_reason: str | None = None
    usage: Usage | None = None


class Text(_Output, frozen=True, kw_only=True, tag="text"):
    """Prose the model wrote."""

    text: str


class Thinking(_Output, frozen=True, kw_only=True, tag="thinking"):
    """Reasoning the model wrote; empty where the source withholds it."""

    text: str


class ToolCall(_Output, frozen=True, kw_only=True, tag="tool_call"):
    """A tool the model asked for. `input` is its JSON, as the source wrote it."""

    call_id: str
    tool: str
    input: msgspec.Raw = msgspec.Raw(b"{}")


class ToolResult(_Entry, frozen=True, kw_only=True, tag="tool_result"):
    """What a tool call returned; `text` joins its text blocks, images left out."""

    call_id: str
    text: str = ""
    is_error: bool = False


class Compaction(_Entry, frozen=True, kw_only=True, tag="compaction"):
    """History before this point was replaced by a summary in the model's context."""

    trigger: str | None = None
    pre_tokens: int | None = None


class ApiError(_Entry, frozen=True, kw_only=True, tag="api_error"):
    """A model call failed."""

    status: int | None = None
    message: str = ""
    category: str | None = None
    """The runtime's class of the error, such as `rate_limit` or `billing_error`."""
    code: str | None = None
    """The runtime's exact name for it, such as `connection_failed`, where it has one."""
    not_before: datetime | None = None
    """When the next call is due: the service said so, or the runtime waits till then."""


class Parameters(msgspec.Struct, frozen=True, kw_only=True):
    """What a tool takes, as far as its JSON schema says so at the top level."""

    tool: str
    types: dict[str, str] = {}
    """JSON type by parameter; empty where the schema names several or none."""
    required: tuple[str, ...] = ()
    closed: bool = False
    """Whether it takes no others."""


class Notice(_Entry, frozen=True, kw_only=True, tag="notice"):
    """A record of the runtime's own that is no step of the agent's."""

    type: str
    tools_added: tuple[str, ...] = ()
    """Names of tools the agent was told of here."""
    tools_removed: tuple[str, ...] = ()
    tools_taking: tuple[Parameters, ...] = ()
    """What some of the added tools take, where the listing carries their schemas."""


class Unknown(_Entry, frozen=True, kw_only=True, tag="unknown"):
    """A record this version does not know, or a line it could not decode."""

    type: str = ""
    problem: str | None = None
    """Why the line could not be decoded; None for a well-formed, unknown type."""


Entry = Prompt | Text | Thinking | ToolCall | ToolResult | Compaction | ApiError | Notice | Unknown

SYNTHETIC_MODEL = "<synthetic>"
"""The model that stands on what the runtime itself writes as the assistant."""


def is_output(entry: Entry) -> bool:
    """Whether a model wrote it."""
    return isinstance(entry, Text | Thinking | ToolCall) and entry.model != SYNTHETIC_MODEL
