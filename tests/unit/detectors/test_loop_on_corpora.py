"""The figures in `detectors.loop`'s docstring, on the corpora a public clone lacks."""

from __future__ import annotations

import gzip
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from detectors.loop import Loop
from supervisor.core.entry import Compaction, Entry, Origin, Prompt, ToolCall, ToolResult
from supervisor.ingest.claude_code import TranscriptReader

Row = dict[str, Any]
ACTED_ON = 0.8
BROWSERS = ("webarena", "workarena")
"""Whose traces hold no results: a call is then answered with nothing."""


def rows(corpora: Path, name: str, label: str) -> list[Row]:
    with gzip.open(corpora / f"{name}.jsonl.gz", "rt") as lines:
        found = [json.loads(line) for line in lines]
    return [row for row in found if any(one["class"] == label for one in row["labels"])]


def entries_of(row: Row) -> Iterator[Entry]:
    """One entry a step: the reply after a call is its result, whoever gives it."""
    asked: int | None = None
    recorded = not any(browser in row["id"] for browser in BROWSERS)
    for seq, step in enumerate(row["steps"], 1):
        place = {"session_id": row["id"], "transcript": row["id"], "agent_id": step.get("agent")}
        answers = step["role"] == "tool" or (recorded and step["role"] == "user")
        if asked is not None and (answers or step["role"] in {"assistant", "user"}):
            text = step["text"] or "" if answers else ""
            error = bool(answers and step.get("is_error"))
            result = seq if answers else asked
            yield ToolResult(**place, seq=result, call_id=f"{asked}", text=text, is_error=error)
            asked = None
        elif step["role"] == "user":
            yield Prompt(**place, seq=seq, text=step["text"])
        if step["role"] == "assistant" and step.get("tool"):
            given = msgspec.Raw(json.dumps(step["input"]).encode())
            yield ToolCall(**place, seq=seq, call_id=f"{seq}", tool=step["tool"], input=given)
            asked = seq
    if asked is not None:
        yield ToolResult(**place, seq=asked, call_id=f"{asked}")


def case_entries(case: Row) -> Iterator[Entry]:
    last = ""
    for seq, step in enumerate(case["steps"], 1):
        place = {"session_id": case["id"], "transcript": case["id"], "agent_id": step.get("agent")}
        match step["kind"]:
            case "user" if step.get("subtype") == "compaction":
                yield Compaction(**place, seq=seq)
            case "user":
                origin = Origin.META if step.get("subtype") else Origin.USER
                yield Prompt(**place, seq=seq, text=step["text"], origin=origin)
            case "tool_call":
                last = step.get("id") or f"{seq}"
                given = msgspec.Raw(json.dumps(step["input"]).encode())
                yield ToolCall(**place, seq=seq, call_id=last, tool=step["tool"], input=given)
            case "tool_result":
                call, text = step.get("id") or last, step["text"]
                error = step["is_error"]
                yield ToolResult(**place, seq=seq, call_id=call, text=text, is_error=error)


def transcript_entries(path: Path) -> Iterator[Entry]:
    reader = TranscriptReader(session_id=path.name, transcript=path.name)
    with gzip.open(path, "rb") as lines:
        for seq, line in enumerate(lines, 1):
            yield from reader.read(line, seq)


def fires(entries: Iterator[Entry]) -> bool:
    loops: defaultdict[str | None, Loop] = defaultdict(Loop)
    return any(
        verdict.confidence >= ACTED_ON
        for entry in entries
        for verdict in loops[entry.agent_id].observe(entry)
    )


@pytest.mark.parametrize(
    ("name", "label", "expected"),
    [
        ("mirage", "loop", (85, 93)),
        ("miniswe", "success", (0, 184)),
        ("taubench", "success", (0, 46)),
    ],
)
def test_traces(corpora: Path, name: str, label: str, expected: tuple[int, int]) -> None:
    found = [fires(entries_of(row)) for row in rows(corpora, name, label)]
    assert (sum(found), len(found)) == expected


def test_claude_code_transcripts(corpora: Path) -> None:
    paths = sorted((corpora / "claude").glob("*.jsonl.gz"))
    assert len(paths) == 153
    assert [path.name[:3] for path in paths if fires(transcript_entries(path))] == ["117"]


def test_loop_cases_with_tool_calls(corpora: Path) -> None:
    cases = json.loads(gzip.decompress((corpora / "loop-cases.json.gz").read_bytes()))
    with_calls = [c for c in cases if any(step["kind"] == "tool_call" for step in c["steps"])]
    for ideal, expected in {"loop": (43, 55), "no_loop": (0, 43)}.items():
        found = [fires(case_entries(case)) for case in with_calls if case["ideal"] == ideal]
        assert (sum(found), len(found)) == expected
