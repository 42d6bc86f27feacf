"""Masking: a tool's result in a raw transcript entry, replaced by what was there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from claude_agent_sdk import SessionStoreEntry

__all__ = ["with_results_masked"]


def with_results_masked(seq: int, raw: SessionStoreEntry) -> SessionStoreEntry:
    """The entry with a line in place of what its tool results hold; `seq` is where the whole
    is kept. An entry without any is returned as it is."""
    message = _mapping(raw.get("message"))
    content = message.get("content")
    if not isinstance(content, list) or not any(map(_is_result, content)):
        return raw
    blocks = [_masked(seq, block) if _is_result(block) else block for block in content]
    changed: dict[str, Any] = {**raw, "message": {**message, "content": blocks}}
    if "toolUseResult" in raw:
        # The runtime's own copy, for its display.
        changed["toolUseResult"] = "left out by Lucid"
    return cast("SessionStoreEntry", changed)


def _is_result(block: object) -> bool:
    return _mapping(block).get("type") == "tool_result"


def _masked(seq: int, block: Mapping[str, Any]) -> dict[str, Any]:
    size = _size(block.get("content"))
    said = (
        f"[Left out by Lucid to save context: a result of {size:,} characters, kept as entry "
        f"{seq} of the session. If you need it, make this call again, for the part you need.]"
    )
    return {**block, "content": said}


def _size(content: object) -> int:
    if isinstance(content, str):
        return len(content)
    parts = content if isinstance(content, list) else []
    return sum(len(str(_mapping(part).get("text") or "")) for part in parts)


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}
