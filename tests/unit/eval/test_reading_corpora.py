"""Files of traces are told apart by their content, and no fault hides the rest."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from supervisor.core.entry import Notice, Prompt, Text, ToolCall, ToolResult
from supervisor.errors import TranscriptError
from supervisor.eval.corpora import Fault, read_corpora, traces
from supervisor.eval.judged import judgements
from supervisor.eval.trace import Outcome, Trace


def named(small: Path) -> dict[str, Trace]:
    return {trace.id: trace for trace in traces(small)}


def test_a_folder_is_read_file_by_file(small: Path) -> None:
    assert [trace.dataset for trace in traces(small)] == [
        *["cases.json"] * 6,
        *["labelled.jsonl"] * 4,
        *["outcomes.jsonl"] * 3,
        *["positives.jsonl"] * 2,
        *["sessions"] * 2,
    ]


def test_reading_entries_twice_gives_equal_ones(small: Path) -> None:
    for trace in traces(small):
        entries = list(trace.entries())
        assert entries == list(trace.entries())
        assert [entry.seq for entry in entries] == sorted(entry.seq for entry in entries)


def test_labels_tell_what_is_known_of_a_trace(small: Path) -> None:
    found = named(small)
    assert found["looping"].holds("loop") is True
    assert found["looping"].labels[0].occurrences == (1, 3, 5)
    assert found["looping"].errors == (3, 5)
    assert found["quiet"].holds("loop") is False
    assert found["quiet"].outcome is Outcome.SUCCESS
    assert found["only positive"].holds("loop") is True
    assert found["not looked at"].holds("loop") is None
    assert found["solved"].holds("loop") is None


def test_healthy_are_successes_known_by_outcome_alone_and_transcripts(small: Path) -> None:
    healthy = [trace.id for trace in traces(small) if trace.healthy]
    assert healthy == [
        "solved",
        "solved, though flagged",
        "sessions/agent-abc.jsonl",
        "sessions/main.jsonl",
    ]


def test_a_failed_run_whose_every_failure_is_listed_is_free_of_the_others(tmp_path: Path) -> None:
    coverage = "outcome for all; failed ones: all failures by step + root cause"
    rows = [
        {"id": outcome, "steps": [], "coverage": coverage, "labels": [{"class": outcome}]}
        for outcome in ("success", "failure")
    ]
    (tmp_path / "rx.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = named(tmp_path)
    assert found["failure"].holds("drift") is False
    assert found["failure"].holds("loop") is None
    assert found["success"].holds("drift") is None


def test_a_transcript_knows_its_session_and_agent(small: Path) -> None:
    found = named(small)
    main, sub = found["sessions/main.jsonl"], found["sessions/agent-abc.jsonl"]
    assert main.group == sub.group == "11111111-1111-4111-8111-111111111111"
    assert {entry.agent_id for entry in sub.entries()} == {"abc"}
    assert {entry.agent_id for entry in main.entries()} == {None}
    kinds = [type(entry) for entry in main.entries()]
    assert kinds == [Notice, Prompt, ToolCall, ToolResult, Text]


def test_compressed_files_are_the_same(small: Path, tmp_path: Path) -> None:
    text = (small / "labelled.jsonl").read_bytes()
    (tmp_path / "labelled.jsonl.gz").write_bytes(gzip.compress(text))
    assert list(named(tmp_path)) == ["looping", "quiet", "false alarm", "missed"]


@pytest.mark.parametrize(
    ("name", "content", "place", "words"),
    [
        ("a.jsonl", b"", "a.jsonl", "is empty"),
        ("a.jsonl.gz", b"\x1f\x8bnot gzip", "a.jsonl.gz", "copy it again"),
        ("a.json", b'{"steps": 1}', "a.json", "not a list of loop cases"),
        ("a.json", b'[{"id": "x"}]', "a.json: case 1", "not a loop case"),
        ("a.jsonl", b'{"steps": []}\n', "a.jsonl:1", "not a trace: Object missing"),
        ("a.jsonl", b'{"steps": [], "id": "x"}\n{"steps": 3}', "a.jsonl:2", "not a trace"),
        ("a.jsonl", b'{"steps": [], "id": "x"}\n\xff\xfe', "a.jsonl:2", "not a trace"),
        ("a.jsonl", b'{broken\n{"steps": [], "id": "x"}', "a.jsonl:1", "not a trace"),
        ("a.jsonl", b'{"what": "is this"}\n', "a.jsonl", "neither traces nor a transcript"),
    ],
)
def test_a_fault_is_told_with_its_place(
    tmp_path: Path, name: str, content: bytes, place: str, words: str
) -> None:
    (tmp_path / name).write_bytes(content)
    faults = [item for item in read_corpora([tmp_path]) if isinstance(item, Fault)]
    assert len(faults) == 1
    assert faults[0].place.endswith(place)
    assert words in faults[0].message
    with pytest.raises(TranscriptError, match=words):
        list(traces(tmp_path))


def test_the_rest_of_a_file_with_a_fault_is_read(tmp_path: Path) -> None:
    lines = [b'{"steps": [], "id": "one"}', b"{broken", b'{"steps": [], "id": "two"}']
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    items = list(read_corpora([tmp_path]))
    assert [item.id for item in items if isinstance(item, Trace)] == ["one", "two"]


def test_what_stands_beside_transcripts_is_passed_over(small: Path, tmp_path: Path) -> None:
    (tmp_path / "agent-abc.jsonl").write_bytes((small / "sessions/agent-abc.jsonl").read_bytes())
    (tmp_path / "agent-abc.meta.json").write_text('{"agentType": "Explore"}')
    (tmp_path / "README.md").write_text("Transcripts.")
    assert len(list(traces(tmp_path))) == 1


def test_a_truncated_archive_is_told(small: Path, tmp_path: Path) -> None:
    whole = gzip.compress((small / "labelled.jsonl").read_bytes())
    (tmp_path / "half.jsonl.gz").write_bytes(whole[: len(whole) // 2])
    (fault,) = read_corpora([tmp_path])
    assert isinstance(fault, Fault)
    assert "cannot be read" in str(fault)


def test_a_path_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TranscriptError, match="does not exist; give files of traces"):
        list(read_corpora([tmp_path / "nowhere"]))


def test_the_record_of_judgements_holds_reasons_and_no_text() -> None:
    found = judgements().values()
    assert len(found) == 24
    assert [row.file[:3] for row in found if not row.healthy] == ["117"]
    assert all(row.why and len(row.why) < 160 for row in found)
