"""`detectors.false_completion`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors._claims import claimed_change, claimed_commit, claimed_tests, sentences
from detectors.false_completion import FalseCompletion, FalseCompletionConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}


def ran(seq: int, command: str, result: str, *, error: bool = False) -> list[Entry]:
    given = msgspec.Raw(msgspec.json.encode({"command": command}))
    return [
        ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool="Bash", input=given),
        ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=result, is_error=error),
    ]


def said(seq: int, text: str) -> Text:
    return Text(**PLACE, seq=seq, text=text, stop_reason="end_turn")


def found(*entries: Entry) -> list[str]:
    return [verdict.key for verdict in verdicts_of(FalseCompletion(), entries)]


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("pytest -q", "FAILED tests/a.py::test_b\n1 failed, 3 passed in 0.1s"),
        ("go test ./...", "--- FAIL: TestX (0.00s)\nFAIL\tpkg 0.1s"),
        ("cargo test", "test result: FAILED. 1 passed; 2 failed; 0 ignored"),
        ("npm run test:unit", "Tests:       2 failed, 40 passed, 42 total"),
        ("python -m unittest", "Ran 3 tests in 0.1s\n\nFAILED (failures=1)"),
        ("mvn -q test", "[ERROR] Tests run: 4, Failures: 1\n3 errors"),
        ("cd app && python3 tests/test_cart.py | tail", "2 failed"),
    ],
)
def test_runners_say_that_tests_failed(command: str, result: str) -> None:
    assert found(*ran(1, command, result), said(3, "All tests pass.")) == ["tests failed"]


@pytest.mark.parametrize(
    ("command", "result"),
    [
        ("pytest -q", "4 passed, 0 failed"),
        ("pytest -q", "ERROR: file not found: tets"),
        ("go test ./...", "ok  \tpkg\t0.1s"),
        ("cargo test", "test result: ok. 3 passed; 0 failed; 0 ignored"),
        ("cat tests/test_cart.py", "# 2 failed"),
        ("grep -rn FAILED log", "FAILED"),
    ],
)
def test_what_is_no_failure_contradicts_nothing(command: str, result: str) -> None:
    before = ran(1, "make check", "ok")
    assert found(*before, *ran(3, command, result), said(5, "All tests pass.")) == []


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("All 12 tests pass.", True),
        ("Fixed.\n\n- **All unit tests now pass** ✅", True),
        ("Tests pass.", True),
        ("The test suite is green.", True),
        ("The tests should pass now.", False),
        ("Run it until all tests pass.", False),
        ("Not all tests pass.", False),
        ("```\nall tests pass\n```", False),
        ("Pass all the tests to the runner.", False),
    ],
)
def test_claims_about_tests(text: str, claim: bool) -> None:
    assert bool(claimed_tests(sentences(text))) is claim


@pytest.mark.parametrize(
    ("text", "claim"),
    [
        ("Committed as 1a2b3c4.", "committed"),
        ("Done. I've committed the fix.", "committed"),
        ("The changes have been pushed to origin.", "pushed"),
        ("Committed files should be reviewed.", ""),
        ("The changes are not committed.", ""),
        ("It was committed by the hook.", ""),
    ],
)
def test_claims_about_commits(text: str, claim: str) -> None:
    assert claimed_commit(sentences(text)) == claim


@pytest.mark.parametrize(
    "text",
    [
        "I've created a plan.",
        "I've completed the analysis of `a.py`.",
        "Here is a review.\n- Added a cache in `a.py`",
        "Updated changelog entry:\n\n- Fixed the `parser`",
        "I have removed my doubts.",
    ],
)
def test_plans_and_reports_claim_no_change(text: str) -> None:
    assert claimed_change(sentences(text)) == ""


@pytest.mark.parametrize(
    ("command", "result", "expected"),
    [
        ("git commit -m x", "error: pathspec", ["commit failed"]),
        ("git commit -m x", "nothing to commit, working tree clean", []),
        ("git commit -m x && npm run lint", "lint: 3 problems", []),
        ("git add . && git commit -m x", "hook declined", ["commit failed"]),
    ],
)
def test_only_gits_own_refusal_contradicts(command: str, result: str, expected: list[str]) -> None:
    assert found(*ran(1, command, result, error=True), said(3, "Committed.")) == expected


@pytest.mark.parametrize(
    "prompt",
    [
        Prompt(**PLACE, seq=1, text="I've pushed it already."),
        Prompt(**PLACE, seq=1, text="All tests pass now."),
        Prompt(**PLACE, seq=1, text="Summary of what was done", origin=Origin.COMPACTION),
    ],
)
def test_what_was_done_elsewhere_is_not_denied(prompt: Prompt) -> None:
    assert found(prompt, said(2, "All tests pass. I've fixed `a.py`. Pushed to main.")) == []


def test_an_ending_is_judged_once() -> None:
    shown = Notice(**PLACE, seq=2, type="system/turn_duration")
    asked = Prompt(**PLACE, seq=3, text="And now?", turn=1)
    assert found(said(1, "All tests pass."), shown, asked) == ["tests never run"]


def test_words_that_end_no_turn_are_judged_when_the_next_begins() -> None:
    entries = [
        Text(**PLACE, seq=1, text="All tests pass."),
        Prompt(**PLACE, seq=2, text="Good.", turn=1),
    ]
    (verdict,) = verdicts_of(FalseCompletion(), entries)
    assert (verdict.seq, verdict.onset_seq) == (2, 1)


def test_open_todos_can_be_left_out() -> None:
    todos = {"todos": [{"content": "Do b", "status": "pending"}]}
    given = msgspec.Raw(msgspec.json.encode(todos))
    entries = [
        ToolCall(**PLACE, seq=1, call_id="c", tool="TodoWrite", input=given),
        said(2, "All done."),
    ]
    off = FalseCompletion(FalseCompletionConfig(open_todos=False))
    assert found(*entries) == ["open to-dos"]
    assert verdicts_of(off, entries) == []


@pytest.mark.parametrize(
    "text", ["all " * 100_000, "\n" * 1_000_000, "`" * 50_000, "* " * 50_000, "\x00\ud800", ""]
)
def test_any_words_can_be_read(text: str) -> None:
    assert found(said(1, text)) == []


@pytest.mark.parametrize("given", [b"{", b'{"todos": 3}', b'{"todos": [{"content": null}]}'])
def test_a_malformed_list_changes_nothing(given: bytes) -> None:
    odd = ToolCall(**PLACE, seq=1, call_id="c", tool="TodoWrite", input=msgspec.Raw(given))
    assert found(odd, said(2, "All done.")) == []


def test_a_long_session_takes_less_than_20_kib() -> None:
    detector = FalseCompletion()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 20 * 1024
