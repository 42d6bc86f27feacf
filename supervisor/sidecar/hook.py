"""`Hook`: what Claude Code posts when something happens to an agent.

A hook's body is untrusted like a transcript: what is used of it is decoded strictly and within
bounds, the rest is not looked at. Events and fields that this version does not know are let
pass.
"""

from __future__ import annotations

import json
from typing import Annotated

import msgspec

from supervisor.errors import HookError

__all__ = ["LARGEST_BODY", "BackgroundTask", "Hook", "read_hook"]

LARGEST_BODY = 16 * 1024 * 1024
"""Bytes. A hook's body holds a tool call's arguments and its result; a larger one is refused
before it is read in (HTTP 413)."""

_Name = Annotated[str, msgspec.Meta(pattern=r"\A\w[\w.:-]{0,63}\Z")]
"""It is logged: no line break can be in it."""
_Identity = Annotated[str, msgspec.Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,127}\Z")]
"""Neither a path nor a part of one can be written so."""
_Path = Annotated[str, msgspec.Meta(max_length=4096, pattern=r"\A[^\x00]*\Z")]
_Short = Annotated[str, msgspec.Meta(max_length=512)]


class BackgroundTask(msgspec.Struct, frozen=True):
    """Something that an agent started and does not wait for."""

    type: _Short = ""


class _Head(msgspec.Struct, frozen=True, kw_only=True):
    """What every event has."""

    event: _Name = msgspec.field(name="hook_event_name")
    session_id: _Identity
    """The SDK session's: its transcript's, not Lucid's."""
    transcript_path: _Path = ""
    """Where the CLI writes the main agent's transcript, a subagent's hook included. Nothing
    is read on its word alone."""
    cwd: _Path = ""
    """Where the agent is; it moves."""


class Hook(_Head, frozen=True, kw_only=True):
    """One event of one agent (as CLI 2.1.330 posts it)."""

    prompt_id: _Short | None = None
    """The turn's, the same from the prompt to its end; a new one with the next prompt."""
    agent_id: _Identity | None = None
    """The subagent whose hook it is; None for the main agent."""
    tool_name: _Short = ""
    tool_input: msgspec.Raw = msgspec.Raw(b"{}")
    tool_use_id: _Short = ""
    last_assistant_message: str | None = None
    """Of `Stop`, `StopFailure` and `SubagentStop`."""
    background_tasks: list[BackgroundTask] | None = None
    """Of `Stop`: what goes on by itself."""
    reason: _Short | None = None
    """Of `SessionEnd`."""


_KNOWN = frozenset(
    {
        "PreToolUse",
        "PostToolUse",
        "PostToolUseFailure",
        "UserPromptSubmit",
        "Stop",
        "StopFailure",
        "SubagentStop",
        "SessionEnd",
    }
)
"""Events of which more than the head is used."""

_WHOLE = msgspec.json.Decoder(Hook)
_HEAD = msgspec.json.Decoder(_Head)


def read_hook(body: bytes) -> Hook:
    """Decode a hook's body. Raises `HookError` where it is none.

    >>> read_hook(b'{"hook_event_name": "Stop", "session_id": "s-1"}').event
    'Stop'
    """
    if len(body) > LARGEST_BODY:
        raise HookError(f"the body has more than {LARGEST_BODY:,} bytes", status=413)
    try:
        return _decoded(body)
    except RecursionError:
        raise HookError("the body is nested too deep", status=400) from None
    except msgspec.ValidationError as error:
        raise HookError(f"the body is no hook's: {error}", status=400) from None
    except (msgspec.MsgspecError, ValueError) as error:
        raise HookError(f"the body is not JSON: {error}", status=400) from None


def _decoded(body: bytes) -> Hook:
    try:
        return _tolerant(body)
    except msgspec.ValidationError:
        raise
    except (msgspec.MsgspecError, UnicodeDecodeError):
        # Half a character, which the CLI writes where an agent did: JSON, if no Unicode.
        mended = json.dumps(json.loads(body), ensure_ascii=False)
        return _tolerant(mended.encode(errors="replace"))


def _tolerant(body: bytes) -> Hook:
    try:
        return _WHOLE.decode(body)
    except msgspec.ValidationError:
        head = _HEAD.decode(body)
        if head.event in _KNOWN:
            raise
        return Hook(**{name: getattr(head, name) for name in head.__struct_fields__})
