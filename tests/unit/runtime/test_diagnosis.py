"""Why a turn ended: every recorded interruption, every row of the table, the corners."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from claude_agent_sdk import (
    CLIConnectionError,
    CLINotFoundError,
    ProcessError,
    RateLimitInfo,
    ResultError,
    ResultMessage,
)

from supervisor.core.entry import (
    ApiError,
    Compaction,
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    ToolCall,
    ToolResult,
)
from supervisor.core.intent import Intent
from supervisor.core.interruption import (
    Cause,
    Failure,
    FailureKind,
    Fate,
    GoOn,
    Interruption,
    Sent,
)
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime.causes import ROWS, WAYS, Condition, Row, Way
from supervisor.runtime.diagnosis import diagnose, failure_of
from tests.fixtures.interruptions.recording import FOLDER, Recording, load
from tests.fixtures.interruptions.stories import STORIES

DOCS = Path(__file__).parents[3] / "docs" / "interruptions.md"
START = datetime(2026, 1, 1, 12, tzinfo=UTC)
DIED = Failure.worker_died()


class Turn:
    """A turn's entries and intents, a second apart."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.intents: list[Intent] = []

    def _at(self) -> datetime:
        return START + timedelta(seconds=len(self.entries) + len(self.intents))

    def add(self, kind: type[Any], **fields: Any) -> Turn:
        seq = len(self.entries) + 1
        place = {"session_id": "s", "transcript": "t", "seq": seq, "uuid": f"u{seq}", "turn": 1}
        self.entries.append(kind(**{**place, "at": self._at(), **fields}))
        return self

    def prompt(self, text: str = "Do it.", **fields: Any) -> Turn:
        return self.add(Prompt, text=text, **fields)

    def call(self, call_id: str, *, intended: bool = True, **fields: Any) -> Turn:
        self.add(ToolCall, **{"call_id": call_id, "tool": "Bash", "message_id": "m", **fields})
        return self.intend(call_id, **fields) if intended else self

    def intend(self, call_id: str, **fields: Any) -> Turn:
        given = {"tool": "Bash", "agent_id": None} | fields
        named = {name: given[name] for name in ("tool", "agent_id")}
        self.intents.append(Intent(session_id="s", call_id=call_id, at=self._at(), **named))
        return self

    def result(self, call_id: str, text: str = "fine", **fields: Any) -> Turn:
        return self.add(ToolResult, call_id=call_id, text=text, **fields)

    def ends(self, text: str = "Done.", **fields: Any) -> Turn:
        return self.add(Text, **{"text": text, "stop_reason": "end_turn", **fields})

    def error(self, **fields: Any) -> Turn:
        return self.add(ApiError, **fields)

    def diagnose(self, failure: Failure | None = DIED, sent: Sent | None = None) -> Interruption:
        return diagnose(self.entries, self.intents, failure, sent=sent)


def result(**fields: Any) -> Failure:
    return Failure(kind=FailureKind.RESULT, **fields)


def lost(interruption: Interruption) -> dict[str, Fate]:
    return {call.call_id: call.fate for call in interruption.calls_in_doubt}


# The recordings


def recorded(recording: Recording) -> Interruption:
    return diagnose(recording.entries(), recording.intents, recording.failure, sent=recording.sent)


RECORDINGS = sorted(path.stem for path in FOLDER.glob("*.json"))
SEEN_FROM_OUTSIDE = {
    *(name for name in RECORDINGS if name.startswith("hang-")),
    "cannot-start",
    "drained",
    "turn-limit",
}
"""Of these the transcript says nothing, or something else."""


@pytest.mark.parametrize("name", RECORDINGS)
def test_a_recorded_interruption_is_what_it_was_played_to_be(name: str) -> None:
    recording = load(FOLDER / f"{name}.json")

    found = recorded(recording)

    assert (found.cause, found.go_on) == (recording.expected.cause, recording.expected.go_on)
    assert tuple(call.tool for call in found.calls_in_doubt) == recording.expected.in_doubt
    assert found.reason
    assert len(found.reason.splitlines()) == 1


@pytest.mark.parametrize("name", sorted({*RECORDINGS} - SEEN_FROM_OUTSIDE))
def test_a_recording_is_told_without_what_was_seen_from_outside(name: str) -> None:
    """By the worker that finds the session: it has the transcript and the intents alone."""
    recording = load(FOLDER / f"{name}.json")

    found = diagnose(recording.entries(), recording.intents, None, sent=recording.sent)

    assert (found.cause, found.go_on) == (recording.expected.cause, recording.expected.go_on)


def test_every_story_has_its_recording() -> None:
    assert sorted(STORIES) == RECORDINGS


def test_recordings_name_no_machine() -> None:
    for path in FOLDER.glob("*.json"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"/(?:tmp/(?!claude\b)|home/|root/|work/)|127\.0\.0\.1:(?!9\b)", text)


# The table


def test_every_cause_is_one_row_and_has_a_recording() -> None:
    assert [row.cause for row in ROWS] == list(dict.fromkeys(row.cause for row in ROWS))
    assert {row.cause for row in ROWS} == set(Cause)
    causes = {Cause(load(FOLDER / f"{name}.json").expected.cause) for name in RECORDINGS}
    assert causes == set(Cause)


def test_the_last_row_and_the_last_way_hold_for_anything() -> None:
    assert ROWS[-1].when == ()
    assert WAYS[-1].when == ()
    assert diagnose([], [], None).retryable


def _when(conditions: tuple[Condition, ...]) -> str:
    return "; and ".join(condition.said for condition in conditions) or "anything else"


def _row(row: Row) -> str:
    way = f"`{row.go_on}`" if row.go_on else "as the turn stands"
    wait = ", after a wait" if row.back_off else ""
    return f"| `{row.cause}` | {_when(row.when)} | {way}{wait} |"


def _way(way: Way) -> str:
    causes = ", ".join(f"`{row.cause}`" for row in ROWS if row.unanswered)
    only = f"; and the cause is one of {causes}" if way.unanswered else ""
    return f"| {_when(way.when)}{only} | `{way.go_on}` |"


def _given(name: str) -> str:
    recording = load(FOLDER / f"{name}.json")
    failure = recording.failure or DIED
    errors = [raw for _, raw in recording.raws if raw.get("isApiErrorMessage")]
    last = errors[-1] if errors else {}
    given = (failure.terminal_reason, failure.status, last.get("error"), last.get("apiError"))
    said = " | ".join(f"`{value}`" if value is not None else "" for value in given)
    return f"| {name} | {said} |".replace("  ", " ")


@pytest.mark.parametrize(
    ("heading", "lines"),
    [
        ("| cause | when | go on with |", [_row(row) for row in ROWS]),
        ("| when | go on with |", [_way(way) for way in WAYS]),
        (
            "| recording | `terminal_reason` | `api_error_status` | `error` | `apiError` |",
            [
                _given(name)
                for name in STORIES
                if (load(FOLDER / f"{name}.json").failure or DIED).kind is FailureKind.RESULT
            ],
        ),
    ],
    ids=["rows", "ways", "recordings"],
)
def test_the_documentation_shows_the_table(heading: str, lines: list[str]) -> None:
    _, found, rest = DOCS.read_text(encoding="utf-8").partition(f"\n{heading}\n")
    assert found, f"docs/interruptions.md lacks the table {heading}"
    table = rest.partition("\n\n")[0].splitlines()[1:]

    assert table == lines


# The model's service

FORK_BEFORE_PROMPT = 1


@pytest.mark.parametrize(
    ("error", "cause", "go_on"),
    [
        ({"status": 503, "message": "API Error: 503"}, Cause.SERVER_ERROR, GoOn.RESEND),
        ({"status": 404, "message": "no such model"}, Cause.MODEL_NOT_FOUND, GoOn.STOP),
        ({"category": "billing_error", "message": "?"}, Cause.BILLING, GoOn.STOP),
        ({"category": "cloud_credential_error"}, Cause.MISCONFIGURED, GoOn.STOP),
        ({"code": "tls_untrusted_ca", "category": "server_error"}, Cause.MISCONFIGURED, GoOn.STOP),
        ({"code": "no_response", "message": "No response"}, Cause.TIMEOUT_BEFORE_OUTPUT, None),
        ({"code": "connection_failed", "message": "cut"}, Cause.STREAM_DROPPED, None),
        ({"message": "Unable to reach it (EAI_AGAIN)"}, Cause.NAME_NOT_RESOLVED, GoOn.RESEND),
        ({"message": "What is this?"}, Cause.UNKNOWN_ERROR, None),
        ({"status": 408, "message": "API Error: 408"}, Cause.TIMEOUT_BEFORE_OUTPUT, None),
        ({"status": 409, "message": "API Error: 409"}, Cause.UNKNOWN_ERROR, None),
        ({"status": 418, "message": "API Error: 418"}, Cause.INVALID_REQUEST, GoOn.STOP),
    ],
)
def test_an_error_of_the_service(error: dict[str, Any], cause: Cause, go_on: GoOn | None) -> None:
    found = Turn().prompt().error(**error).diagnose(None)

    assert (found.cause, found.go_on) == (cause, go_on or GoOn.CONTINUE)


def test_a_refused_turn_is_dropped_and_its_prompt_sent_again() -> None:
    found = (
        Turn()
        .prompt("Do it.")
        .add(Notice, type="x")
        .error(status=500)
        .diagnose(result(status=500, terminal_reason="api_error"))
    )

    assert found.go_on is GoOn.RESEND
    assert found.prompt is not None
    assert (found.prompt.text, found.prompt.uuid) == ("Do it.", "u1")
    assert found.fork_before == FORK_BEFORE_PROMPT
    assert found.asks_again


def test_a_turn_with_output_is_kept_and_continued() -> None:
    turn = Turn().prompt().call("a").result("a").error(status=529)

    found = turn.diagnose(result(status=529))

    assert (found.cause, found.go_on) == (Cause.OVERLOADED, GoOn.CONTINUE)
    assert found.fork_before is None
    assert not found.asks_again


def test_the_wait_is_what_the_service_asked_for() -> None:
    until = START + timedelta(hours=1)
    found = Turn().prompt().error(status=429, not_before=until).diagnose(result(status=429))

    assert found.cause is Cause.USAGE_LIMIT
    assert found.wait(START) == timedelta(hours=1)
    assert found.wait(until + timedelta(days=1)) == timedelta()
    assert Turn().prompt().error(status=429).diagnose().wait(START) is None


def test_a_runtime_that_was_to_wait_too_long_is_diagnosed_as_what_it_waited_for() -> None:
    until = START + timedelta(hours=1)
    turn = Turn().prompt().prompt("[Request interrupted by user]", origin=Origin.META)

    found = turn.diagnose(Failure.retrying(429, until))

    assert (found.cause, found.go_on) == (Cause.USAGE_LIMIT, GoOn.RESEND)
    assert found.not_before == until


def test_an_error_that_the_agent_got_over_does_not_count() -> None:
    turn = Turn().prompt().error(status=500).call("a").result("a")

    assert turn.diagnose().cause is Cause.KILLED_AFTER_CALL


def test_the_next_attempt_of_the_runtime_is_read_from_the_transcript() -> None:
    raw = (
        b'{"type":"system","subtype":"api_error","timestamp":"2026-01-01T12:00:00Z",'
        b'"error":{"message":"429 {}","formatted":"429 slow down","status":429},'
        b'"retryInMs":90000}'
    )
    (entry,) = TranscriptReader("s", "t").read(raw, 1)

    assert isinstance(entry, ApiError)
    assert (entry.status, entry.message) == (429, "429 slow down")
    assert entry.not_before == START + timedelta(seconds=90)


@pytest.mark.parametrize("resets_at", [b"1e300", b"-1e300", b'"soon"', b"null", b"{}"])
def test_a_senseless_reset_time_is_none(resets_at: bytes) -> None:
    raw = (
        b'{"type":"assistant","isApiErrorMessage":true,"message":{"content":"?"},'
        b'"quotaLimits":{"resetsAt":%s}}'
    )
    (entry,) = TranscriptReader("s", "t").read(raw % resets_at, 1)

    assert isinstance(entry, ApiError)
    assert entry.not_before is None


# Contexts that are too long, and broken histories


def test_a_context_is_compacted_and_if_that_fails_the_largest_result_is_left_out() -> None:
    turn = Turn().prompt().call("a").result("a").call("b", message_id="n").result("b", "x" * 999)
    turn.error(status=400, message="Prompt is too long")

    first = turn.diagnose(result(status=400, terminal_reason="prompt_too_long"))
    second = turn.diagnose(Failure.compaction_failed())

    assert (first.cause, first.go_on) == (Cause.PROMPT_TOO_LONG, GoOn.COMPACT)
    assert (second.cause, second.go_on) == (Cause.COMPACTION_FAILED, GoOn.ROLL_BACK)
    assert second.fork_before == 5
    assert lost(second) == {"b": Fate.OUT_OF_SIGHT}
    assert not second.asks_again


def test_a_first_prompt_that_is_too_long_is_for_a_person() -> None:
    turn = Turn().prompt().error(status=400, message="Prompt is too long · ...")

    found = turn.diagnose(result(status=400, terminal_reason="prompt_too_long"))

    assert (found.cause, found.go_on) == (Cause.NOTHING_TO_COMPACT, GoOn.STOP)
    assert not found.retryable


def test_nor_is_there_a_way_back_from_a_context_without_results() -> None:
    turn = Turn().prompt().ends().prompt("More.", turn=2)

    assert turn.diagnose(Failure.compaction_failed()).go_on is GoOn.STOP


def test_a_broken_pair_before_the_prompt_takes_the_prompt_with_it() -> None:
    turn = Turn().prompt().call("a").prompt("Go on.", turn=2)
    turn.error(code="tool_history_mismatch", status=400)

    found = turn.diagnose(result(status=400))

    assert (found.cause, found.go_on) == (Cause.ORPHAN_TOOL_USE, GoOn.REPAIR)
    assert found.fork_before == 2
    assert found.asks_again
    assert found.prompt is not None
    assert found.prompt.text == "Go on."


def test_the_sound_half_of_a_broken_message_is_named() -> None:
    turn = Turn().prompt().call("a").call("b").result("a").error(code="tool_history_mismatch")

    found = turn.diagnose(result(status=400))

    assert found.fork_before == 3
    assert lost(found) == {"a": Fate.OUT_OF_SIGHT, "b": Fate.UNKNOWN}
    assert not found.asks_again


# What may have run


def test_parallel_calls_are_told_apart() -> None:
    turn = Turn().prompt().call("done").call("running").call("waiting", intended=False)
    turn.result("done")

    found = turn.diagnose()

    assert (found.cause, found.go_on) == (Cause.KILLED_IN_CALL, GoOn.VERIFY)
    assert lost(found) == {"running": Fate.UNKNOWN}
    assert [call.call_id for call in found.calls_not_run] == ["waiting"]


def test_a_call_that_the_transcript_does_not_hold_yet_is_known_by_its_intent() -> None:
    found = Turn().prompt().intend("a", tool="Write").diagnose()

    assert found.go_on is GoOn.VERIFY
    assert [(call.tool, call.fate) for call in found.calls_in_doubt] == [("Write", Fate.UNKNOWN)]


def test_so_is_one_whose_prompt_is_not_there_yet_and_the_prompt_is_sent_with_it() -> None:
    turn = Turn().prompt("First.").ends().intend("a")

    found = turn.diagnose(sent=Sent(text="Second."))

    assert (found.cause, found.go_on) == (Cause.KILLED_IN_CALL, GoOn.RESEND)
    assert lost(found) == {"a": Fate.UNKNOWN}
    assert found.asks_again
    assert (found.prompt, found.fork_before) == (None, None)


def test_a_call_without_an_intent_was_not_begun() -> None:
    found = Turn().prompt().call("a", intended=False).diagnose()

    assert (found.cause, found.go_on) == (Cause.KILLED_BEFORE_CALL, GoOn.CONTINUE)
    assert [call.call_id for call in found.calls_not_run] == ["a"]


def test_unless_calls_ran_without_intents() -> None:
    turn = Turn().prompt().call("a", intended=False).result("a").call("b", intended=False)

    assert lost(turn.diagnose()) == {"b": Fate.UNKNOWN}


def test_a_call_that_no_hook_saw_since_its_tool_does_not_exist_proves_nothing() -> None:
    turn = Turn().prompt().call("a", intended=False).result("a", "No such tool", is_error=True)
    turn.call("b", intended=False)

    assert turn.diagnose().calls_in_doubt == ()


def test_calls_of_earlier_turns_are_not_named_again() -> None:
    turn = Turn().prompt().call("old").intend("older")
    turn.prompt("Verify it.", origin=Origin.LUCID, turn=2).call("new", message_id="n")

    assert lost(turn.diagnose()) == {"new": Fate.UNKNOWN}


def test_a_prompt_typed_while_the_agent_worked_does_not_hide_what_it_did() -> None:
    turn = Turn().prompt().call("a").prompt("Hurry up.")

    found = turn.diagnose()

    assert lost(found) == {"a": Fate.UNKNOWN}
    assert found.prompt is not None
    assert found.prompt.text == "Do it."


def test_work_in_the_background_ends_with_its_process() -> None:
    launched = "Async agent launched successfully. (…)"
    turn = Turn().prompt().call("a", tool="Agent").result("a", launched).ends("I wait.")

    assert lost(turn.diagnose()) == {"a": Fate.IN_BACKGROUND}
    assert turn.diagnose(result(is_error=False)).calls_in_doubt == ()
    report = "<task-notification><tool-use-id>a</tool-use-id>"
    turn.prompt(report, origin=Origin.TASK).ends("All is there.")
    assert turn.diagnose().go_on is GoOn.HAND_OVER


def test_a_subagent_in_flight_is_named_with_its_call() -> None:
    turn = Turn().prompt().call("a", tool="Agent").prompt("Look.", agent_id="x1", turn=1)
    turn.call("b", agent_id="x1", message_id="n")

    found = turn.diagnose()

    assert found.agents_cut_off == ("x1",)
    assert [(call.tool, call.agent_id) for call in found.calls_in_doubt] == [
        ("Agent", None),
        ("Bash", "x1"),
    ]


def test_a_subagent_that_finished_is_not_cut_off() -> None:
    turn = Turn().prompt().call("a", tool="Agent").prompt("Look.", agent_id="x1")
    turn.ends("Seen.", agent_id="x1").result("a", "Seen.")

    found = turn.diagnose()

    assert found.agents_cut_off == ()
    assert found.cause is Cause.KILLED_AFTER_CALL


def test_what_a_subagent_did_is_named_until_it_has_reported() -> None:
    turn = Turn().prompt().call("a", tool="Agent").prompt("Write.", agent_id="x1")
    turn.call("read", tool="Read", agent_id="x1").result("read", agent_id="x1")
    turn.call("b", agent_id="x1").result("b", agent_id="x1").call("c", agent_id="x1")

    assert lost(turn.diagnose()) == {
        "a": Fate.UNKNOWN,
        "c": Fate.UNKNOWN,
        "b": Fate.UNREPORTED,
    }
    assert [call.call_id for call in turn.diagnose().calls_in_doubt] == ["a", "c", "b"]
    turn.result("c", agent_id="x1").ends("Written.", agent_id="x1")
    assert set(lost(turn.diagnose())) == {"a", "b", "c"}
    turn.result("a", "Written.\nagentId: x1 (…)")
    assert lost(turn.diagnose()) == {}


def test_a_subagent_may_report_by_way_of_another() -> None:
    turn = Turn().prompt().call("a", tool="Agent").prompt("Do it.", agent_id="x1")
    turn.call("b", tool="Agent", agent_id="x1").prompt("Write.", agent_id="x2")
    turn.call("c", agent_id="x2").result("c", agent_id="x2").ends("Written.", agent_id="x2")
    turn.result("b", "Written.\nagentId: x2 (…)", agent_id="x1").ends("Done.", agent_id="x1")

    assert lost(turn.diagnose()) == {"a": Fate.UNKNOWN, "c": Fate.UNREPORTED}
    turn.result("a", "Done.\nagentId: x1 (…)")
    assert lost(turn.diagnose()) == {}


def test_an_interrupted_calls_result_is_not_believed() -> None:
    refused = "The user doesn't want to proceed with this tool use. The tool use was rejected"
    turn = Turn().prompt().call("a").result("a", refused, is_error=True)
    turn.prompt("[Request interrupted by user for tool use]", origin=Origin.META)

    by_person = turn.diagnose(result(terminal_reason="aborted_tools"))
    by_lucid = turn.diagnose(Failure.silent(timedelta(minutes=5)))

    assert (by_person.cause, by_person.go_on) == (Cause.INTERRUPTED, GoOn.PAUSE)
    assert (by_lucid.cause, by_lucid.go_on) == (Cause.HANG, GoOn.VERIFY)
    assert lost(by_person) == lost(by_lucid) == {"a": Fate.CUT_OFF}
    assert not by_person.retryable


# Finished, lost, limited


def test_a_finished_turn_is_handed_over_and_nothing_is_asked() -> None:
    turn = Turn().prompt().ends("Two", message_id="m").ends("parts.", message_id="m")

    for failure in (None, DIED, Failure.silent(timedelta(1)), failure_of(ProcessError("x", -9))):
        found = turn.diagnose(failure)
        assert (found.cause, found.go_on) == (Cause.FINISHED_UNSEEN, GoOn.HAND_OVER)
        assert found.answer == "Two\nparts."


@pytest.mark.parametrize(
    "more",
    [
        {"kind": Prompt, "text": "Stop hook feedback: go on", "origin": Origin.META},
        {"kind": Prompt, "text": "<task-notification>", "origin": Origin.TASK},
        {"kind": ApiError, "message": "The response above may be incomplete."},
        {"kind": Compaction},
    ],
)
def test_a_last_text_with_something_after_it_is_not_the_end(more: dict[str, Any]) -> None:
    turn = Turn().prompt().ends()
    turn.add(more.pop("kind"), **more)

    assert turn.diagnose().go_on is GoOn.CONTINUE


def test_what_the_runtime_writes_on_resuming_is_no_answer() -> None:
    turn = (
        Turn()
        .prompt()
        .add(Text, text="No response requested.", model="<synthetic>", stop_reason="end_turn")
    )

    found = turn.diagnose()

    assert (found.cause, found.go_on) == (Cause.KILLED_IN_OUTPUT, GoOn.CONTINUE)


@pytest.mark.parametrize(
    ("sent", "cause"),
    [
        (None, Cause.FINISHED_UNSEEN),
        (Sent(text="Do it."), Cause.FINISHED_UNSEEN),
        (Sent(text="  Do it.\n"), Cause.FINISHED_UNSEEN),
        (Sent(text="whatever", uuid="u1"), Cause.FINISHED_UNSEEN),
        (Sent(text="Do it.", uuid="u9"), Cause.PROMPT_LOST),
        (Sent(text="Do more."), Cause.PROMPT_LOST),
    ],
)
def test_a_prompt_that_is_not_there_was_lost(sent: Sent | None, cause: Cause) -> None:
    found = Turn().prompt().ends().diagnose(sent=sent)

    assert found.cause is cause
    assert found.asks_again is (cause is Cause.PROMPT_LOST)


def test_a_limit_of_the_callers_is_no_fault() -> None:
    turn = Turn().prompt().call("a").result("a")

    for failure in (result(terminal_reason="max_turns"), result(subtype="error_max_budget_usd")):
        assert turn.diagnose(failure).cause is Cause.LIMIT_REACHED


def test_only_the_newest_transcript_counts() -> None:
    turn = Turn().prompt().call("a").prompt("Go on.", transcript="fork")

    found = turn.diagnose()

    assert found.prompt is not None
    assert found.prompt.transcript == "fork"
    assert found.cause is Cause.KILLED_IN_OUTPUT


def test_nothing_is_changed_and_the_same_is_found_again() -> None:
    turn = Turn().prompt().call("a").call("b").result("a").error(status=500)
    before = msgspec.json.encode((turn.entries, turn.intents))

    assert turn.diagnose() == turn.diagnose()
    assert msgspec.json.encode((turn.entries, turn.intents)) == before


# What the SDK gives


def _message(**fields: Any) -> ResultMessage:
    usual = {"subtype": "success", "duration_ms": 1, "duration_api_ms": 1, "is_error": True}
    return ResultMessage(**{**usual, "num_turns": 1, "session_id": "s", **fields})


@pytest.mark.parametrize(
    ("end", "failure"),
    [
        (
            lambda: _message(result="API Error: 500", api_error_status=500),
            result(subtype="success", status=500, text="API Error: 500"),
        ),
        (
            lambda: _message(
                errors=["[ede_diagnostic] x", "Reached it"], subtype="error_max_turns"
            ),
            result(subtype="error_max_turns", text="Reached it"),
        ),
        (
            lambda: ResultError("x", {"result": "API Error", "terminal_reason": "api_error"}, 1),
            result(terminal_reason="api_error", text="API Error", exit_code=1),
        ),
        (
            lambda: ProcessError("failed", -9, "look elsewhere"),
            Failure(kind=FailureKind.PROCESS, text="failed (exit code: -9)", exit_code=-9),
        ),
        (
            lambda: CLINotFoundError("not found", "/bin/x"),
            Failure(kind=FailureKind.NOT_STARTED, text="not found: /bin/x"),
        ),
        (
            lambda: CLIConnectionError("not connected"),
            Failure(kind=FailureKind.PROCESS, text="not connected"),
        ),
        (TimeoutError, Failure(kind=FailureKind.PROCESS, text="TimeoutError")),
    ],
    ids=["result", "limit", "result error", "killed", "no CLI", "no connection", "nothing said"],
)
def test_the_end_as_the_sdk_gives_it_becomes_a_value(
    end: Callable[[], ResultMessage | BaseException], failure: Failure
) -> None:
    assert failure_of(end()) == failure


def test_a_rate_limit_event_says_until_when() -> None:
    event = RateLimitInfo(status="rejected", resets_at=1_893_456_000)

    failure = failure_of(_message(api_error_status=429), rate_limit=event)

    assert failure.not_before == datetime(2030, 1, 1, tzinfo=UTC)
    found = Turn().prompt().error(status=429).diagnose(failure)
    assert (found.cause, found.not_before) == (Cause.USAGE_LIMIT, failure.not_before)
