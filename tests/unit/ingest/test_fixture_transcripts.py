"""Every excerpt in tests/fixtures/transcripts is read as the list beside it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.core.entry import (
    ApiError,
    Compaction,
    Entry,
    Notice,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.ingest.discover import find_transcripts
from supervisor.ingest.lines import Line, LineFile

FOLDER = Path(__file__).parents[2] / "fixtures" / "transcripts"
EXCERPTS = sorted(FOLDER.glob("*.jsonl"))


def _said(entry: Entry) -> str:
    match entry:
        case Prompt():
            return f"prompt/{entry.origin} {entry.text!r}"
        case Text() | Thinking():
            return f"{type(entry).__name__.lower()} {entry.text!r}"
        case ToolCall():
            return f"tool_call {entry.tool} {entry.call_id[-6:]} {bytes(entry.input).decode()}"
        case ToolResult():
            error = " error" if entry.is_error else ""
            return f"tool_result{error} {entry.call_id[-6:]} {entry.text!r}"
        case Compaction():
            return f"compaction {entry.trigger} {entry.pre_tokens}"
        case ApiError():
            return f"api_error {entry.status} {entry.message!r}"
        case Notice():
            tools = "".join(f" +{tool}" for tool in entry.tools_added)
            return f"notice {entry.type}{tools}"
        case Unknown():
            return f"unknown {entry.type} {entry.problem}"


def _listing(excerpt: Path) -> list[str]:
    (source, *_) = find_transcripts(excerpt)
    reader = TranscriptReader("session", source.session_id, source.agent_id)
    lines = [line for line in LineFile(excerpt).read_new() if isinstance(line, Line)]
    return [
        f"{entry.seq}.{entry.part} turn={entry.turn} {entry.agent_id or '-'} {_said(entry)}"
        for line in lines
        for entry in reader.read(line.raw, line.number)
    ]


@pytest.mark.parametrize("excerpt", EXCERPTS, ids=lambda path: path.stem)
def test_an_excerpt_is_read_as_listed(excerpt: Path) -> None:
    expected = excerpt.with_suffix(".entries").read_text(encoding="utf-8").splitlines()
    assert _listing(excerpt) == expected


def test_every_excerpt_names_its_source() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    unnamed = [path.stem for path in EXCERPTS if path.stem not in readme]
    assert [stem for stem in unnamed if not stem.startswith("cli-2.1.330-")] == []
