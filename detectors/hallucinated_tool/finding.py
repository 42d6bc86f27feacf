"""What the parts of this detector hand to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from supervisor.core.verdict import Fact, Severity

__all__ = ["Call", "Finding", "Kind"]


class Kind(StrEnum):
    """What the agent made up; the fact `kind` of every verdict."""

    UNKNOWN_TOOL = "unknown_tool"
    REJECTED_ARGUMENTS = "rejected_arguments"
    MISSING_NAME = "missing_name"
    PROSE_CALL = "prose_call"
    PROSE_RESULT = "prose_result"
    INVENTED_RESULT = "invented_result"
    NOTHING_CONSULTED = "nothing_consulted"


@dataclass(slots=True, frozen=True)
class Call:
    """A tool call that awaits its result."""

    tool: str
    seq: int
    message_id: str | None
    input: bytes
    """Its arguments as written, the middle left out of long ones."""


@dataclass(slots=True, frozen=True)
class Finding:
    """A verdict without what all of them share."""

    kind: Kind
    onset_seq: int
    entries: tuple[int, ...]
    confidence: float
    summary: str
    key: str
    facts: Mapping[str, Fact]
    severity: Severity = Severity.WARNING
