"""`supervisor.testing.fixtures`: it reads fixtures, and no fault of a detector escapes it."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import ClassVar

import msgspec
import numpy as np
import pytest

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Text
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import TranscriptError
from supervisor.testing.fixtures import CHECKS, check_detector, deep_size, read_fixture, workload

SAYS_STUCK = {
    "type": "assistant",
    "message": {"role": "assistant", "content": [{"type": "text", "text": "I am stuck."}]},
}


class Sound(Detector):
    """Finds an agent that says that it is stuck."""

    name = "test_detector_fixtures"
    failure_mode = FailureMode.STALL

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Find the word."""
        if isinstance(entry, Text) and "stuck" in entry.text:
            yield self.verdict(entry)

    def verdict(self, entry: Text) -> Verdict:
        return Verdict(
            session_id=entry.session_id,
            transcript=entry.transcript,
            agent_id=entry.agent_id,
            seq=entry.seq,
            onset_seq=entry.seq,
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.WARNING,
            confidence=0.9,
            summary="Says that it is stuck.",
            evidence=Evidence(entries=(entry.seq,), facts={"text": entry.text[:200]}),
        )


class Altered(Sound):
    """Sound but for one field of its verdicts."""

    changes: ClassVar[dict[str, object]] = {}

    def verdict(self, entry: Text) -> Verdict:
        return msgspec.structs.replace(super().verdict(entry), **self.changes)


class Hoarder(Sound):
    """Keeps every entry."""

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__(config)
        self.kept: list[Entry] = []

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Keep it."""
        self.kept.append(entry)
        return super().observe(entry)


class Shared(Sound):
    """Keeps what it saw in the class, where other sessions' detectors find it."""

    seen: ClassVar[set[str]] = set()

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Find the word, once."""
        found = list(super().observe(entry))
        fresh = [verdict for verdict in found if verdict.summary not in self.seen]
        self.seen.update(verdict.summary for verdict in found)
        return fresh


class Changer(Sound):
    """Changes what it is given."""

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Change it."""
        found = list(super().observe(entry))
        msgspec.structs.force_setattr(entry, "turn", entry.turn + 1)
        return found


class Terse(Sound):
    """Says nothing about its configuration."""

    class Config(DetectorConfig):
        limit: int = 3


class Misnamed(Sound):
    """Is called otherwise than its file."""

    name = "other"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    expected = {"seq": 1, "onset_seq": 1, "facts": {"text": "I am stuck."}}
    write(tmp_path / "fires-stuck.jsonl", [SAYS_STUCK], [expected])
    write(tmp_path / "quiet-user.jsonl", [{"type": "user", "message": {"content": "Stuck?"}}], [])
    return tmp_path


def write(path: Path, lines: list[object], expect: list[object]) -> None:
    header = {"about": "...", "source": "written by hand", "expect": expect}
    path.write_text("\n".join(json.dumps(line) for line in [header, *lines]) + "\n")


def test_a_sound_detector_conforms(folder: Path) -> None:
    assert check_detector(Sound, folder) == []


@pytest.mark.parametrize(
    ("kind", "check", "says"),
    [
        (Misnamed, "is declared", "its name is 'other'"),
        (Terse, "is documented", "Config.limit has no docstring"),
        (Terse, "is documented", "the class Config has no docstring"),
        (Shared, "finds the same again", "its verdicts differ"),
        (Changer, "leaves entries alone", "it changed the entries"),
        (Hoarder, "keeps its memory bounded", "are allowed"),
    ],
)
def test_a_fault_is_found(kind: type[Detector], check: str, says: str, folder: Path) -> None:
    assert any(says in problem for problem in CHECKS[check](kind, folder))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"confidence": 1.2}, "confidence 1.2 is not in 0..1"),
        ({"onset_seq": 9}, "onset_seq 9 is no entry that has been seen"),
        ({"seq": 7}, "seq is not that of the entry"),
        ({"detector": "other"}, "another detector"),
        ({"evidence": Evidence(entries=(1, 5))}, "are not entries that have been seen"),
        ({"evidence": Evidence(entries=(1, 1))}, "not ascending"),
        ({"evidence": Evidence(entries=(1,), facts={"all": "x" * 9_000})}, "fact all is too long"),
        ({"summary": "two\nlines"}, "the summary is not one line"),
    ],
)
def test_a_verdict_that_breaks_its_contract_is_found(
    changes: dict[str, object], says: str, folder: Path
) -> None:
    kind = type("Broken", (Altered,), {"changes": changes})
    problems = list(CHECKS["keeps the verdict contract"](kind, folder))
    assert any(says in problem for problem in problems), problems


@pytest.mark.parametrize(
    ("expected", "says"),
    [
        ({"seq": 2, "onset_seq": 1}, "it fires at [1], not at [2]"),
        ({"seq": 1, "onset_seq": 2}, "onset_seq is 1, not 2"),
        ({"seq": 1, "onset_seq": 1, "key": "k"}, "key is '', not 'k'"),
        ({"seq": 1, "onset_seq": 1, "entries": [2]}, "evidence.entries is (1,)"),
        ({"seq": 1, "onset_seq": 1, "facts": {"text": "x"}}, "fact text is 'I am stuck.', not 'x'"),
        ({"seq": 1, "onset_seq": 1, "confidence_at_least": 0.95}, "confidence is 0.9, not in"),
        ({"seq": 1, "onset_seq": 1, "confidence_below": 0.9}, "confidence is 0.9, not in"),
    ],
)
def test_a_verdict_that_was_not_expected_is_found(
    expected: object, says: str, folder: Path
) -> None:
    write(folder / "fires-stuck.jsonl", [SAYS_STUCK], [expected])
    (problem,) = CHECKS["fires where expected"](Sound, folder)
    assert says in problem


def test_fixtures_of_both_kinds_are_asked_for(folder: Path) -> None:
    (folder / "quiet-user.jsonl").rename(folder / "fires-user.jsonl")
    write(folder / "other.jsonl", [], [])
    problems = list(CHECKS["has both kinds of fixture"](Sound, folder))
    assert [problem.partition(":")[0] for problem in problems] == [
        "fires-user.jsonl",
        f"there is no quiet-*.jsonl in {folder}",
        "other.jsonl",
    ]


def test_a_fixture_is_read_with_its_entries_numbered_from_1(folder: Path) -> None:
    fixture = read_fixture(folder / "fires-stuck.jsonl")
    assert fixture.name == "fires-stuck.jsonl"
    assert [(entry.seq, type(entry)) for entry in fixture.entries] == [(1, Text)]


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "f.jsonl:1: "),
        ('{"about": "", "source": "", "expect": [], "more": 1}\n', "f.jsonl:1: "),
        ('{"about": "", "source": "", "expect": []}\n{}\n{"type"\n', "f.jsonl:2: "),
    ],
    ids=["empty", "unknown key", "broken line"],
)
def test_a_broken_fixture_is_refused_with_its_place(text: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "f.jsonl").write_text(text)
    with pytest.raises(TranscriptError, match=place):
        read_fixture(tmp_path / "f.jsonl")


def test_the_workload_is_the_same_for_the_same_seed() -> None:
    assert list(workload(500)) == list(workload(500))
    assert list(workload(500)) != list(workload(500, seed=1))


def test_deep_size_counts_what_is_referred_to_once() -> None:
    text = "x" * 1_000
    assert 1_000 < deep_size([text]) < deep_size([text, text]) < 1_200


@pytest.mark.parametrize(
    "value",
    [
        {"key": ["x" * 1_000]},
        deque(["x" * 1_000]),
        Text(session_id="s", transcript="t", seq=1, text="x" * 1_000),
        msgspec.Raw(b"x" * 1_000),
        np.zeros(125),
    ],
    ids=["dict", "deque", "entry", "raw", "array"],
)
def test_deep_size_looks_into_what_detectors_hold(value: object) -> None:
    assert 1_000 <= deep_size(value) < 2_500
