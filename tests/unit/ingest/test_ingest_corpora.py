"""Real transcripts, CLI 1.0.24 to 2.1.132: every line is read as what it is."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path

import pytest

from supervisor.core.entry import Entry, Unknown
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.ingest.discover import find_transcripts
from supervisor.ingest.lines import Line, LineFile


@pytest.fixture(scope="module")
def unpacked(corpora: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("claude")
    for packed in (corpora / "claude").glob("*.jsonl.gz"):
        (folder / packed.stem).write_bytes(gzip.decompress(packed.read_bytes()))
    return folder


def _lines(path: Path) -> list[Line]:
    file = LineFile(path)
    found = [*file.read_new(), file.take_rest()]
    assert all(line is None or isinstance(line, Line) for line in found)
    return [line for line in found if isinstance(line, Line)]


def _is_json(raw: bytes) -> bool:
    try:
        json.loads(raw)
    except ValueError:
        return False
    return True


def test_every_line_is_typed_and_only_malformed_ones_are_unknown(unpacked: Path) -> None:
    kinds: Counter[type[Entry]] = Counter()
    for path in unpacked.glob("*.jsonl"):
        lines = _lines(path)
        raws = [raw for raw in path.read_bytes().split(b"\n") if raw.strip()]
        assert [line.raw for line in lines] == raws
        reader = TranscriptReader("session", path.stem)
        for line in lines:
            entries = reader.read(line.raw, line.number)
            kinds.update(type(entry) for entry in entries)
            unknown = any(isinstance(entry, Unknown) for entry in entries)
            assert unknown != _is_json(line.raw), (path.name, line.number, entries)
            assert all(entry.seq == line.number for entry in entries)
    assert len(kinds) >= 8


def test_subagent_files_are_attached_to_their_parents(corpora: Path, unpacked: Path) -> None:
    with (corpora / "claude" / "MANIFEST.tsv").open(encoding="utf-8") as file:
        rows = {
            row["file"].removesuffix(".gz"): row for row in csv.DictReader(file, delimiter="\t")
        }
    sources = {source.path.name: source for source in find_transcripts(unpacked)}
    assert set(sources) == set(rows)
    for name, source in sources.items():
        first = json.loads(_lines(source.path)[0].raw)
        if first.get("agentId"):
            assert source.subpath == f"subagents/agent-{first['agentId']}"
            assert source.session_id == first["sessionId"]
            assert rows[name]["kind"] == "subagent"
        else:
            assert source.subpath == ""
    by_session = Counter(source.session_id for source in sources.values() if source.subpath)
    assert by_session["741790a4-4fe2-4644-9a51-fb4482074060"] > 5
    parent, child = (
        sources["037-sample_main_transcript.jsonl"],
        sources["010-sample_agent_sidechain.jsonl"],
    )
    assert parent.session_id == child.session_id
