"""Loop cases as entries: short sessions made after the tests of other systems' detectors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypedDict

import msgspec

from supervisor.core.entry import (
    Compaction,
    Entry,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)

__all__ = ["CaseStep", "case_batches"]


class CaseStep(msgspec.Struct):
    """A step of a loop case as the corpora write it."""

    kind: str
    text: str | None = None
    tool: str | None = None
    input: msgspec.Raw = msgspec.Raw(b"{}")
    id: str | None = None
    is_error: bool | None = None
    subtype: str | None = None
    turn: int | None = None
    agent: str | None = None
    original_text: str | None = None


class _Place(TypedDict):
    session_id: str
    transcript: str
    seq: int
    agent_id: str | None
    turn: int


def case_batches(case_id: str, steps: Sequence[CaseStep]) -> Iterator[tuple[Entry, ...]]:
    """The entries of each step, together. A result goes to the call of its id, or to the
    last one; one that a compaction replaced is read as it was."""
    turn, last = 0, ""
    for index, step in enumerate(steps):
        if step.kind == "user" and not step.subtype:
            turn += 1
        if step.kind == "tool_call":
            last = step.id or f"c{index}"
        place = _Place(
            session_id=case_id, transcript=case_id, seq=index + 1, agent_id=step.agent, turn=turn
        )
        message = f"t{step.turn}" if step.turn is not None else f"m{index}"
        yield tuple(_entries(step, place, message, last))


def _entries(step: CaseStep, place: _Place, message: str, last: str) -> Iterator[Entry]:
    text = step.text or ""
    match step.kind:
        case "user" if step.subtype == "compaction":
            yield Compaction(**place)
            yield Prompt(**place, part=1, text=text, origin=Origin.COMPACTION)
        case "user":
            yield Prompt(**place, text=text, origin=Origin.META if step.subtype else Origin.USER)
        case "assistant_text":
            yield Text(**place, text=text, message_id=message)
        case "thinking":
            yield Thinking(**place, text=text, message_id=message)
        case "tool_call":
            yield ToolCall(
                **place, call_id=last, tool=step.tool or "", input=step.input, message_id=message
            )
        case "tool_result":
            yield ToolResult(
                **place,
                call_id=step.id or last,
                text=step.original_text if step.original_text is not None else text,
                is_error=bool(step.is_error),
            )
        case other:
            yield Unknown(**place, type=other)
