"""`detectors.premature_end`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors.premature_end import PrematureEnd
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}


def ends(text: str, prompt: str = "Go on.", *before: Entry) -> list[str]:
    entries = [
        Prompt(**PLACE, seq=1, turn=1, text=prompt),
        *before,
        Text(**PLACE, seq=9, text=text, stop_reason="end_turn", turn=1),
    ]
    return [verdict.key for verdict in verdicts_of(PrematureEnd(), entries)]


@pytest.mark.parametrize(
    "text",
    [
        "Now let me run the tests.",
        "The cause is clear.\n\n**Next, I'll update the parser:**",
        "Okay. I will first try to retrieve the examples.",
        "I\u2019m going to fix this now.",
    ],
)
def test_an_announcement_without_a_call_is_a_promise(text: str) -> None:
    assert ends(text) == ["promise"]


@pytest.mark.parametrize(
    "text",
    [
        "Let me know how it goes.",
        "I'll run the tests once you have installed Go.",
        "I'll check the result when the build completes.",
        "I will fix it if you want.",
        "I'll look at it. Which branch is it on?",
        "Now let me run the tests. They pass.",
        "I'll be careful from now on.",
        "```\nNow let me run the tests\n```\nThat is what it printed.",
        "",
    ],
)
def test_what_waits_or_is_kept_is_no_promise(text: str) -> None:
    assert ends(text) == []


@pytest.mark.parametrize(
    ("prompt", "text", "expected"),
    [
        ("Fix the parser.", "Shall I fix it?", ["leave"]),
        ("Please add a test and commit.", "Would you like me to commit this?", ["leave"]),
        ("Fix the parser.", "Shall I add a test, too?", []),
        ("Can you fix the parser?", "Yes. Shall I fix it?", []),
        ("I want to fix the parser. Ideas?", "Two. Shall I fix it with a stack?", []),
        ("Do it all. Don't ask.", "Should I proceed?", ["leave"]),
        ("Work autonomously.", "Do you want me to go on with b?", ["leave"]),
        ("Users say: do not ask me twice. Why?", "It is a setting. Shall I change it?", []),
        ("Ask once, and if it is set, do not ask anymore.", "Want me to change it?", []),
    ],
)
def test_leave_is_needed_for_what_was_not_ordered(
    prompt: str, text: str, expected: list[str]
) -> None:
    assert ends(text, prompt) == expected


def test_a_question_after_changes_is_about_what_comes_next() -> None:
    given = msgspec.Raw(b'{"file_path": "/r/a.py"}')
    edit = ToolCall(**PLACE, seq=2, call_id="c", tool="Edit", input=given)
    assert ends("Shall I fix it elsewhere as well?", "Fix the parser.", edit) == []


def test_a_report_on_background_work_does_not_end_a_turn_of_its_own() -> None:
    entries = [
        Prompt(**PLACE, seq=1, turn=1, text="Go on."),
        Text(**PLACE, seq=2, turn=1, text="Now let me run the tests."),
        Prompt(**PLACE, seq=3, turn=1, text="<task-notification>", origin=Origin.TASK),
        ToolCall(**PLACE, seq=4, turn=1, call_id="c", tool="Bash"),
    ]
    assert verdicts_of(PrematureEnd(), entries) == []


def test_what_lucid_says_is_no_order_of_the_users() -> None:
    entries = [
        Prompt(**PLACE, seq=1, turn=1, text="Sort out the parser."),
        Prompt(**PLACE, seq=2, turn=2, text="<lucid>Do not ask.</lucid>", origin=Origin.LUCID),
        Text(**PLACE, seq=3, turn=2, text="Which one? Shall I proceed?", stop_reason="end_turn"),
    ]
    assert verdicts_of(PrematureEnd(), entries) == []


def test_words_cut_off_are_no_ending() -> None:
    cut = Text(**PLACE, seq=1, text="Now let me run the tests.", stop_reason="max_tokens")
    assert verdicts_of(PrematureEnd(), [cut]) == []


@pytest.mark.parametrize(
    "text",
    [
        "let me " * 100_000,
        "\n" * 1_000_000,
        "?" * 50_000,
        "now, " * 50_000,
        "\x00\ud800",
        "。" * 999,
    ],
)
def test_any_words_can_be_read(text: str) -> None:
    assert ends(text) == []


def test_a_long_session_takes_less_than_8_kib() -> None:
    detector = PrematureEnd()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 8 * 1024
