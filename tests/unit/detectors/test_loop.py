"""`detectors.loop`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors.loop import Loop, LoopConfig
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.verdict import Severity
from supervisor.testing.fixtures import deep_size, verdicts_of, workload


def step(seq: int, tool: str, result: str, given: object = None) -> list[Entry]:
    """A call at `seq` and its result at `seq + 1`."""
    place = {"session_id": "s", "transcript": "t"}
    raw = msgspec.Raw(msgspec.json.encode(given if given is not None else {}))
    return [
        ToolCall(**place, seq=seq, call_id=f"c{seq}", tool=tool, input=raw),
        ToolResult(**place, seq=seq + 1, call_id=f"c{seq}", text=result),
    ]


def session(*steps: tuple[str, str]) -> list[Entry]:
    return [
        entry
        for number, (tool, result) in enumerate(steps)
        for entry in step(2 * number + 1, tool, result)
    ]


def test_confidence_and_severity_grow_with_each_repetition() -> None:
    found = verdicts_of(Loop(), session(*[("Read", "same")] * 7))

    assert [verdict.confidence for verdict in found] == [0.8, 0.9, 0.95, 0.975, 0.9875]
    assert [verdict.severity for verdict in found] == [Severity.WARNING] * 3 + [
        Severity.CRITICAL
    ] * 2
    assert {verdict.onset_seq for verdict in found} == {3}
    assert len({verdict.key for verdict in found}) == 1


def test_the_key_of_a_cycle_does_not_depend_on_where_it_was_caught() -> None:
    a, b, c = ("Read", "a"), ("Grep", "b"), ("Glob", "c")

    keys = [verdicts_of(Loop(), session(*[*turn] * 3))[0].key for turn in [(a, b, c), (b, c, a)]]
    other = verdicts_of(Loop(), session(*[a, c, b] * 3))[0].key

    assert keys[0] == keys[1]
    assert other != keys[0]


def test_the_thresholds_are_the_policys() -> None:
    found = verdicts_of(Loop(LoopConfig(repeats=2)), session(*[("Read", "same")] * 2))
    assert [verdict.seq for verdict in found] == [4]


def test_no_longer_cycle_than_configured_is_looked_for() -> None:
    turn = [("Read", "a"), ("Grep", "b"), ("Glob", "c")]
    short = Loop(LoopConfig(longest_cycle=2))
    patterns = [v.evidence.facts["pattern"] for v in verdicts_of(short, session(*turn * 4))]
    assert "cycle" not in patterns


@pytest.mark.parametrize(
    "given",
    [
        b'{"deep": ' + b"[" * 5_000 + b"]" * 5_000 + b"}",
        b'{"lone": "\\ud800"}',
        b'{"cut": ',
        b"[1, 2]",
        b'"text"',
        b'{"command": 7}',
        b'{"large": "' + b"x" * 100_000 + b'"}',
    ],
    ids=["nested", "surrogate", "truncated", "list", "string", "number", "large"],
)
def test_arguments_of_any_shape_are_compared(given: bytes) -> None:
    entries = session(*[("Odd", "same")] * 3)
    odd = [
        msgspec.structs.replace(entry, input=msgspec.Raw(given))
        if isinstance(entry, ToolCall)
        else entry
        for entry in entries
    ]
    (verdict,) = verdicts_of(Loop(), odd)
    assert len(str(verdict.evidence.facts["arguments"])) <= 200


def test_a_change_in_the_middle_of_a_long_result_is_news() -> None:
    page = "a line of text\n" * 1_000
    results = [page + word + page for word in ("one", "two", "three", "four")]
    assert verdicts_of(Loop(), session(*[("Read", text) for text in results])) == []


def test_indentation_within_several_lines_tells_edits_apart() -> None:
    entries = [
        entry
        for number, indent in enumerate([0, 2, 4, 8])
        for entry in step(
            2 * number + 1, "Edit", "syntax error", {"new": f"if x:\n{' ' * indent}return\n"}
        )
    ]
    assert verdicts_of(Loop(), entries) == []


def test_how_much_and_why_do_not_tell_calls_apart() -> None:
    entries = [
        entry
        for number, limit in enumerate([100, 200, 300])
        for entry in step(
            2 * number + 1, "read_file", "the whole file", {"path": "a", "limit": limit}
        )
    ]
    (verdict,) = verdicts_of(Loop(), entries)
    assert verdict.evidence.facts["pattern"] == "identical"


def test_where_tells_calls_apart() -> None:
    entries = [
        entry
        for number in range(6)
        for entry in step(2 * number + 1, "read_file", "", {"path": "a", "page": number})
    ]
    assert [verdict.evidence.facts["pattern"] for verdict in verdicts_of(Loop(), entries)] == [
        "failure",
        "failure",
    ]


def test_text_replaced_by_itself_is_no_change() -> None:
    entries = []
    for number in range(5):
        noop = {"path": f"{number}", "old_string": "x", "new_string": "x"}
        entries += step(4 * number + 1, "Bash", "1 failed", {"command": "pytest"})
        entries += step(4 * number + 3, "Edit", "The file has been updated.", noop)
    (verdict,) = verdicts_of(Loop(), entries)
    assert verdict.evidence.facts["repetitions"] == 5


def test_a_long_answer_that_differs_by_itself_is_known_from_its_second_run_on() -> None:
    page = "a line of text\n" * 40
    steps = [("Status", f"{page}took 0.{number}1s") for number in range(4)]
    assert [verdict.seq for verdict in verdicts_of(Loop(), session(*steps))] == [8]


@pytest.mark.parametrize(
    ("times", "fires"), [(7, False), (8, True), (200, True)], ids=["few", "enough", "many"]
)
def test_how_often_a_message_may_say_the_same(times: int, fires: bool) -> None:
    said = "I will look at the configuration once more, and then at the tests. " * times
    message = Text(session_id="s", transcript="t", seq=1, text=said)
    assert bool(verdicts_of(Loop(), [message])) is fires


@pytest.mark.parametrize(
    "text",
    ["x" * 1_000_000, "a line\n" * 200_000, "```" * 300_000, "\x00\ud800" * 100_000, "語" * 500],
    ids=["one letter", "lines", "fences", "control characters", "one sign"],
)
def test_a_huge_text_is_no_trouble(text: str) -> None:
    loop = Loop()
    for seq in range(1, 4):
        tuple(loop.observe(Text(session_id="s", transcript="t", seq=seq, text=text)))
    for entry in session(*[("Read", text)] * 2):
        assert tuple(loop.observe(entry)) == ()
    assert deep_size(loop) < 32 * 1024


def test_what_the_runtime_says_in_the_models_place_is_no_monologue() -> None:
    said = Text(
        session_id="s", transcript="t", seq=1, text="No response requested.", model="<synthetic>"
    )
    entries = [msgspec.structs.replace(said, seq=seq) for seq in range(1, 9)]
    assert verdicts_of(Loop(), entries) == []


def test_a_long_session_takes_less_than_32_kib() -> None:
    detector, largest = Loop(), 0
    for entry in workload(20_000):
        tuple(detector.observe(entry))
        if entry.seq % 500 == 0:
            largest = max(largest, deep_size(detector))
    assert largest < 32 * 1024


def agents(*spans: tuple[int, str], error: bool = True, first: Loop | None = None) -> list[str]:
    """Patterns found where agents of one session make the same call, each with its first
    entry, the call three entries later, and its answer."""
    elder = first or Loop()
    found: list[str] = []
    for began, result in spans:
        loop = Loop()
        loop.join(elder)
        place = {"session_id": "s", "transcript": "t", "agent_id": f"a{began}"}
        asked = Prompt(**place, seq=began, text="Run the tests.", origin=Origin.AGENT)
        call, answer = step(began + 3, "Bash", result, {"command": "make test"})
        assert isinstance(answer, ToolResult)
        answer = msgspec.structs.replace(answer, is_error=error)
        verdicts = verdicts_of(loop, [asked, call, answer])
        found += [str(one.evidence.facts["pattern"]) for one in verdicts]
    return found


def test_agents_sent_one_after_another_into_the_same_failure_are_a_loop() -> None:
    assert agents((10, "no make"), (20, "no make"), (30, "no make")) == ["shared failure"]
    assert agents((10, "no make"), (20, "no make"), (30, "no rule")) == []
    assert agents((10, "as it is"), (20, "as it is"), (30, "as it is"), error=False) == []


def test_agents_at_work_side_by_side_may_fail_alike() -> None:
    assert agents((10, "no make"), (11, "no make"), (12, "no make")) == []


def test_what_the_user_says_ends_a_failure_shared_by_agents() -> None:
    main = Loop()
    assert agents((10, "no make"), (20, "no make"), first=main) == []
    verdicts_of(main, [Prompt(session_id="s", transcript="t", seq=28, text="Try again.")])
    assert agents((30, "no make"), first=main) == []


def test_a_suspicion_is_told_on_request_alone_and_grows_into_a_finding() -> None:
    def failing(loop: Loop) -> list[float]:
        entries: list[Entry] = []
        for number in range(5):
            call, answer = step(2 * number + 1, "fetch", "HTTP 404", {"url": f"/{number}"})
            assert isinstance(answer, ToolResult)
            entries += [call, msgspec.structs.replace(answer, is_error=True)]
        return [one.confidence for one in verdicts_of(loop, entries)]

    assert failing(Loop()) == [0.8]
    assert failing(Loop(LoopConfig(suspicions=True))) == [0.1, 0.8]


def test_one_search_half_of_another_is_a_suspicion() -> None:
    searches = ("first mayor of the port", "first harbour of the port")
    entries = [
        entry
        for number, query in enumerate(searches)
        for entry in step(2 * number + 1, "web_search", f"page {number}", {"query": query})
    ]
    assert verdicts_of(Loop(), entries) == []
    (found,) = verdicts_of(Loop(LoopConfig(suspicions=True)), entries)
    assert (found.severity, found.confidence) == (Severity.INFO, 0.1)
