"""Whatever a line holds, `TranscriptReader` returns entries for it."""

from __future__ import annotations

import json

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.ingest.claude_code import TranscriptReader

NAMES = [
    "type", "subtype", "uuid", "parentUuid", "timestamp", "isSidechain", "agentId", "isMeta",
    "message", "attachment", "error", "tools", "origin", "compactMetadata", "content", "text",
    "id", "name", "input", "tool_use_id", "usage", "input_tokens", "addedNames", "prompt",
]  # fmt: skip
WORDS = [
    "user", "assistant", "system", "attachment", "text", "thinking", "tool_use", "tool_result",
    "init", "api_error", "compact_boundary", "queued_command", "<lucid>", "2026-03-01T10:00:00Z",
]  # fmt: skip

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from(WORDS)
    | st.text(st.characters(codec=None), max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=8)
    ),
    max_leaves=30,
)
records = st.fixed_dictionaries(
    {"type": st.sampled_from(WORDS)}, optional={name: values for name in NAMES if name != "type"}
)


@settings(max_examples=120, deadline=None, derandomize=True, database=None)
@given(records)
def test_any_record_yields_entries(record: dict[str, object]) -> None:
    raw = json.dumps(record).encode()
    entries = TranscriptReader("session", "transcript").read(raw, 1)
    assert [entry.part for entry in entries] == list(range(len(entries)))
    assert entries


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(st.binary(max_size=200))
def test_any_bytes_yield_one_entry(raw: bytes) -> None:
    assert len(TranscriptReader("session", "transcript").read(raw, 1)) == 1
