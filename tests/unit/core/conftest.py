"""Entries and verdicts, made from what a test cares about."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from supervisor.core.entry import (
    Compaction,
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from supervisor.core.verdict import Evidence, Fact, FailureMode, Severity, Verdict


class Script:
    """Entries of one transcript, numbered as they are written."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def _add(self, kind: type[Any], **fields: Any) -> Script:
        seq = len(self.entries) + 1
        place = {"session_id": "s", "transcript": "t", "seq": seq, "uuid": str(UUID(int=seq))}
        self.entries.append(kind(**(place | fields)))
        return self

    def prompt(self, origin: Origin = Origin.USER, **fields: Any) -> Script:
        return self._add(Prompt, text="go", origin=origin, **fields)

    def text(self, stop: str | None = None, **fields: Any) -> Script:
        return self._add(Text, text="so", stop_reason=stop, **fields)

    def thinking(self, **fields: Any) -> Script:
        return self._add(Thinking, text="hm", **fields)

    def call(self, call_id: str, **fields: Any) -> Script:
        return self._add(ToolCall, call_id=call_id, tool="Bash", **fields)

    def result(self, call_id: str, **fields: Any) -> Script:
        return self._add(ToolResult, call_id=call_id, **fields)

    def compaction(self) -> Script:
        return self._add(Compaction)

    def notice(self) -> Script:
        return self._add(Notice, type="progress")


@pytest.fixture
def script() -> Script:
    return Script()


def verdict(**said: Any) -> Verdict:
    """A loop found at entry 9; what is said replaces what is usual."""
    facts: dict[str, Fact] = said.pop("facts", {})
    usual = {
        "session_id": "s",
        "transcript": "t",
        "seq": 9,
        "onset_seq": 3,
        "detector": "loop",
        "failure_mode": FailureMode.LOOP,
        "severity": Severity.WARNING,
        "confidence": 0.9,
        "summary": "the same call with the same result",
        "evidence": Evidence(entries=(9,), facts=facts),
        "key": "k",
    }
    return Verdict(**(usual | said))
