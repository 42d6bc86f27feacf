"""`detectors.stall`: silences, which no transcript shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from detectors.stall import Stall, StallConfig
from supervisor.core.entry import (
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from supervisor.core.verdict import Verdict
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}
START = datetime(2026, 3, 2, 9, tzinfo=UTC)
ASK = Prompt(**PLACE, seq=1, text="Fix it.")
INTERRUPT = Prompt(
    **PLACE, seq=3, text="[Request interrupted by user for tool use]", origin=Origin.META
)
ENDED = Text(**PLACE, seq=2, text="It is fixed.", stop_reason="end_turn")
BETWEEN = Text(**PLACE, seq=2, text="I will look.", stop_reason="tool_use")


def call(seq: int, tool: str) -> ToolCall:
    return ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool)


def silence(detector: Stall, minutes: int, start: datetime = START) -> list[Verdict]:
    """What a tick a minute finds."""
    ticks = (start + timedelta(minutes=minute) for minute in range(minutes + 1))
    return [verdict for now in ticks for verdict in detector.tick(now)]


def after(*entries: Entry, config: StallConfig | None = None) -> Stall:
    detector = Stall(config)
    for entry in entries:
        assert list(detector.observe(entry)) == []
    return detector


@pytest.mark.parametrize(
    ("entries", "kind", "minutes"),
    [
        ((ASK,), "model", 15),
        ((ASK, BETWEEN), "model", 15),
        ((ASK, Thinking(**PLACE, seq=2, text="")), "model", 15),
        ((ASK, call(2, "Bash"), ToolResult(**PLACE, seq=3, call_id="c2")), "model", 15),
        ((ASK, call(2, "Bash")), "tool", 60),
        ((ASK, call(2, "Task")), "subagent", 60),
    ],
)
def test_an_open_turn_is_silent_too_long(
    entries: tuple[Entry, ...], kind: str, minutes: int
) -> None:
    assert silence(after(*entries), minutes - 1) == []
    (found,) = silence(after(*entries), minutes + 30)
    assert (found.key, found.evidence.facts["silent_seconds"]) == (kind, minutes * 60)
    assert found.seq == entries[-1].seq


@pytest.mark.parametrize(
    "entries",
    [
        (),
        (ASK, ENDED),
        (ASK, Text(**PLACE, seq=2, text="It is fixed.")),
        (ASK, call(2, "Bash"), INTERRUPT),
        (ASK, call(2, "AskUserQuestion")),
        (ASK, call(2, "Edit")),
        (Prompt(**PLACE, seq=1, text="<local-command-stdout>", origin=Origin.META),),
        (Prompt(**PLACE, seq=1, text="(no content)"),),
    ],
)
def test_nobody_is_expected_to_speak(entries: tuple[Entry, ...]) -> None:
    assert silence(after(*entries), 600) == []


def test_a_tool_that_reports_progress_is_alive() -> None:
    detector = after(ASK, call(2, "Bash"))
    for hour in range(5):
        assert silence(detector, 50, START + timedelta(hours=hour)) == []
        assert list(detector.observe(Notice(**PLACE, seq=3 + hour, type="progress"))) == []


def test_a_silence_is_told_once_and_a_new_one_again() -> None:
    detector = after(ASK)
    assert len(silence(detector, 200)) == 1
    assert list(detector.observe(BETWEEN)) == []
    assert len(silence(detector, 200, START + timedelta(hours=9))) == 1


def test_time_before_the_first_tick_does_not_count() -> None:
    old = Prompt(**PLACE, seq=1, text="Fix it.", at=START - timedelta(days=3))
    assert silence(after(old), 10) == []


def test_limits_are_the_policys() -> None:
    assert len(silence(after(ASK, config=StallConfig(model_seconds=60)), 2)) == 1


def results(count: int, *, error: bool, tool: str = "Bash") -> list[Entry]:
    entries: list[Entry] = []
    for seq in range(2, 2 * count + 2, 2):
        text = f"error {seq}" if error else "the same"
        entries.append(call(seq, tool))
        entries.append(
            ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=text, is_error=error)
        )
    return entries


def test_results_that_are_known_are_no_progress() -> None:
    (found,) = verdicts_of(Stall(), results(13, error=False))
    assert (found.key, found.evidence.facts["results"]) == ("no_progress", 12)


def test_a_user_who_speaks_starts_anew() -> None:
    failing = results(20, error=True)
    entries = [*failing[:22], Prompt(**PLACE, seq=24, text="Go on."), *failing[22:]]
    assert verdicts_of(Stall(), entries) == []


def test_an_answer_without_words_says_nothing_either_way() -> None:
    entries = results(8, error=True)
    blank = [
        entry
        for seq in range(100, 140, 2)
        for entry in (call(seq, "Bash"), ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}"))
    ]
    assert verdicts_of(Stall(), [*entries, *blank]) == []


def test_a_long_session_takes_less_than_12_kib() -> None:
    detector = Stall()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 12 * 1024
