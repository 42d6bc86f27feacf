"""`detectors.context_bloat`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors.context_bloat import ContextBloat, ContextBloatConfig
from supervisor.core.entry import Compaction, Entry, Text, ToolCall, ToolResult, Usage
from supervisor.core.verdict import Verdict
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}
SMALL = ContextBloatConfig(window_tokens=10_000)


def step(seq: int, tool: str, text: str, used: int | None = None, **given: str) -> list[Entry]:
    usage = Usage(input_tokens=used) if used else None
    raw = msgspec.Raw(msgspec.json.encode(given))
    return [
        ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool, input=raw, usage=usage),
        ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=text),
    ]


def page(name: str, lines: int) -> str:
    return "\n".join(f"{name} line {n:04d} says {'so ' * (n % 5)}much of it" for n in range(lines))


def read_and_edited(times: int) -> list[Entry]:
    """A file of 2,000 tokens, read anew after each edit."""
    entries: list[Entry] = []
    for n in range(times):
        text = f"version {n}\n" + "x" * 8_000
        entries += step(4 * n + 1, "Read", text, file_path="/app/a.py")
        entries += step(4 * n + 3, "Edit", "Done.", file_path="/app/a.py", new_string=f"{n}")
    return entries


def only(verdicts: list[Verdict], kind: str) -> list[Verdict]:
    return [verdict for verdict in verdicts if verdict.evidence.facts["kind"] == kind]


def test_outdated_results_that_crowd_the_window_are_named_with_what_masking_frees() -> None:
    (found, *_) = only(verdicts_of(ContextBloat(SMALL), read_and_edited(4)), "waste")
    assert found.evidence.entries == (2, 6)
    assert found.evidence.facts["tokens_saved"] == 4_004
    assert found.onset_seq == 2


def test_as_much_is_no_waste_in_a_larger_window() -> None:
    assert verdicts_of(ContextBloat(), read_and_edited(4)) == []


def test_a_compaction_takes_the_outdated_results_away() -> None:
    first, *rest = read_and_edited(8)[8:], read_and_edited(3)[:8]
    entries = [*rest[0], Compaction(**PLACE, seq=9), *first[:4]]
    assert only(verdicts_of(ContextBloat(SMALL), entries), "waste") == []


def test_a_command_run_again_outdates_what_it_returned_before() -> None:
    entries: list[Entry] = []
    for n in range(4):
        entries += step(2 * n + 1, "Bash", f"{n}" * 8_000, command="make report > out; cat out")
    (found, *_) = only(verdicts_of(ContextBloat(SMALL), entries), "waste")
    assert found.evidence.entries == (2, 4)


def test_the_sources_own_count_goes_before_the_estimate() -> None:
    entries = [*step(1, "Bash", "ok", used=195_000, command="make")]
    (found,) = verdicts_of(ContextBloat(), entries)
    assert found.evidence.facts["used_tokens"] == 195_000


def test_blocks_of_one_message_are_counted_once() -> None:
    usage = Usage(input_tokens=100, output_tokens=10)
    detector = ContextBloat()
    for seq in (1, 2, 3):
        text = Text(**PLACE, seq=seq, text="so", message_id="m", usage=usage)
        assert list(detector.observe(text)) == []
    full = step(4, "Bash", "ok", used=190_000, command="make")
    (found,) = verdicts_of(detector, full)
    assert found.evidence.facts["used_tokens"] == 190_000


def test_a_window_proves_larger_by_what_it_holds() -> None:
    entries = [*step(1, "Bash", "ok", used=300_000, command="make")]
    assert verdicts_of(ContextBloat(), entries) == []


def test_the_forecast_counts_calls_at_the_growth_so_far() -> None:
    entries = [
        *step(1, "Bash", "ok", used=5_000, command="a"),
        *step(3, "Bash", "ok", used=6_000, command="b"),
        *step(5, "Bash", "x" * 14_000, used=6_000, command="c"),
    ]
    (found,) = verdicts_of(ContextBloat(SMALL), entries)
    assert found.evidence.facts["kind"] == "full"
    assert found.evidence.facts["calls_left"] == 0
    assert found.evidence.facts["oversized_seq"] == 6


def test_a_finding_is_told_again_only_once_it_has_worsened() -> None:
    entries: list[Entry] = []
    for n, used in enumerate((9_300, 9_400, 9_500, 9_900)):
        entries += step(2 * n + 1, "Bash", f"{n}", used=used, command=f"{n}")
    assert len(verdicts_of(ContextBloat(SMALL), entries)) == 1


@pytest.mark.parametrize(
    ("command", "forgets"),
    [
        ("cat a.py", False),
        ("cd /app && grep -n x a.py", False),
        ("sed -n '1,80p' a.py", False),
        ("git diff", False),
        ("sed -i s/x/y/ a.py", True),
        ("cat b.py > a.py", True),
        ("cat <<'E'\nx\nE", True),
        ("pytest -q", True),
    ],
)
def test_what_may_change_a_file_makes_reading_it_again_legitimate(
    command: str, forgets: bool
) -> None:
    entries = step(1, "Read", page("a", 80), file_path="/app/a.py")
    for n in range(3):
        entries += step(4 * n + 3, "Bash", "", command=command)
        entries += step(4 * n + 5, "Read", page("a", 80), file_path="/app/a.py", offset=f"{n}")
    found = only(verdicts_of(ContextBloat(), entries), "reread")
    assert bool(found) is not forgets


def test_a_part_of_what_was_read_is_known_wherever_it_stands() -> None:
    whole = page("a", 120).split("\n")
    entries = step(1, "Read", "\n".join(whole), file_path="/app/a.py")
    for n in range(3):
        part = "\n".join(whole[n * 9 : n * 9 + 60])
        entries += step(2 * n + 3, "Read", part, file_path="/app/a.py", offset=f"{n}")
    found = only(verdicts_of(ContextBloat(), entries), "reread")
    assert [verdict.confidence for verdict in found] == [0.5, 0.85]


def test_lines_that_repeat_within_one_result_are_not_read_again() -> None:
    entries: list[Entry] = []
    for n in range(5):
        line = f"step {n} of the build says the same thing.."
        entries += step(2 * n + 1, "Bash", f"{line}\n" * 200, command="ls")
    assert only(verdicts_of(ContextBloat(), entries), "reread") == []


def test_a_long_session_takes_less_than_12_kib() -> None:
    detector = ContextBloat()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 12 * 1024
