"""What is found and done goes to a collector, and one that is down holds up nobody."""

from __future__ import annotations

import builtins
import logging
import socket
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

import msgspec
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Status
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.store.interface import Incident
from supervisor.telemetry import export
from supervisor.telemetry.conventions import GenAi, Lucid
from supervisor.telemetry.export import close_telemetry, session_telemetry
from tests.collector import Collector, attributes

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
VERDICT = Verdict(
    session_id="s",
    transcript="t",
    agent_id="a1",
    seq=9,
    onset_seq=4,
    detector="loop",
    failure_mode=FailureMode.LOOP,
    severity=Severity.WARNING,
    confidence=0.95,
    summary="marked text, with password: hunter2hunter2",
    evidence=Evidence(entries=(4, 9), facts={"tool": "marked text"}),
    key="marked text",
)
DECISION = Decision(
    id="d1",
    session_id="s",
    seq=9,
    at=NOW,
    verdict=VERDICT,
    choice=Choice.ACT,
    reason="first rung",
    rule="break loops",
    action="nudge",
)
OUTCOME = Outcome(
    session_id="s",
    decision_id="d1",
    action="nudge",
    failure_mode=FailureMode.LOOP,
    agent_id="a1",
    status=OutcomeStatus.FAILED,
    seq=12,
    at=NOW + timedelta(seconds=7),
    reason="marked text",
)
INCIDENT = Incident(session_id="s", seq=3, at=NOW, source="detector:x", message="marked text")


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "LUCID_OTEL", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    export._say.cache_clear()
    yield
    close_telemetry()


def _told(*events: Verdict | Decision | Outcome | Incident) -> None:
    telemetry = session_telemetry("s")
    assert telemetry is not None
    for event in events:
        telemetry.tell(event)
    telemetry.end()
    close_telemetry(10)


def test_a_verdict_is_an_evaluation_result(collector: Collector) -> None:
    _told(VERDICT)
    event = collector.event("gen_ai.evaluation.result")
    assert attributes(event.attributes) == {
        "gen_ai.conversation.id": "s",
        "gen_ai.agent.id": "a1",
        "gen_ai.evaluation.name": "loop",
        "gen_ai.evaluation.score.value": 0.95,
        "gen_ai.evaluation.score.label": "warning",
        "lucid.detector.name": "loop",
        "lucid.entry.seq": 9,
        "lucid.entry.onset_seq": 4,
    }
    assert event.severity_number == 13
    assert event.span_id == collector.span("invoke_agent").span_id
    assert collector.services == {"lucid"}


def test_an_action_is_a_span_from_its_decision_to_its_outcome(collector: Collector) -> None:
    _told(VERDICT, DECISION, OUTCOME)
    span, root = collector.span("lucid.action nudge"), collector.span("invoke_agent")
    assert (span.trace_id, span.parent_span_id) == (root.trace_id, root.span_id)
    assert span.end_time_unix_nano - span.start_time_unix_nano == 7_000_000_000
    assert span.start_time_unix_nano == int(NOW.timestamp()) * 1_000_000_000
    assert span.status.code == Status.STATUS_CODE_ERROR
    found = attributes(span.attributes)
    assert found["gen_ai.conversation.id"] == "s"
    assert found["lucid.action.name"] == "nudge"
    assert found["lucid.rule.name"] == "break loops"
    assert found["lucid.outcome.status"] == "failed"
    assert collector.event("lucid.outcome").span_id == span.span_id


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (OutcomeStatus.CLEARED, Status.STATUS_CODE_OK),
        (OutcomeStatus.RELAPSED, Status.STATUS_CODE_ERROR),
        (OutcomeStatus.SUPERSEDED, Status.STATUS_CODE_UNSET),
    ],
)
def test_a_spans_status_is_its_outcome(
    collector: Collector, status: OutcomeStatus, code: Status.StatusCode.ValueType
) -> None:
    _told(DECISION, msgspec.structs.replace(OUTCOME, status=status))
    assert collector.span("lucid.action nudge").status.code == code


def test_an_action_without_outcome_goes_out_at_the_end(collector: Collector) -> None:
    _told(DECISION)
    assert "lucid.outcome.status" not in attributes(collector.span("lucid.action nudge").attributes)


def test_a_decision_to_do_nothing_and_an_incident_are_events(collector: Collector) -> None:
    _told(msgspec.structs.replace(DECISION, choice=Choice.COOLDOWN, action=None), INCIDENT)
    decided = attributes(collector.event("lucid.decision").attributes)
    assert decided["lucid.decision.choice"] == "cooldown"
    incident = attributes(collector.event("lucid.incident").attributes)
    assert incident["lucid.incident.source"] == "detector:x"


def test_no_text_of_a_transcript_goes_out(collector: Collector) -> None:
    _told(VERDICT, DECISION, OUTCOME, INCIDENT)
    assert collector.spans
    assert collector.events
    assert b"marked text" not in collector.raw


@pytest.mark.parametrize("asked", ["NO_CONTENT", "SPAN_ONLY", "false", ""])
def test_text_that_is_not_asked_for_in_events_stays_here(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    _told(VERDICT)
    assert collector.events
    assert b"marked text" not in collector.raw


@pytest.mark.parametrize("asked", ["EVENT_ONLY", "span_and_event", "true"])
def test_text_that_is_asked_for_goes_out_without_secrets(
    collector: Collector, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", asked)
    _told(VERDICT)
    found = attributes(collector.event("gen_ai.evaluation.result").attributes)
    said = found["gen_ai.evaluation.explanation"]
    assert said == "marked text, with password: [redacted:secret]"


def test_many_open_actions_take_bounded_memory(collector: Collector) -> None:
    many = [msgspec.structs.replace(DECISION, id=str(number)) for number in range(300)]
    telemetry = session_telemetry("s")
    assert telemetry is not None
    for decision in many:
        telemetry.tell(decision)
    assert len(telemetry._open) == 256
    telemetry.end()
    close_telemetry(10)
    assert len(collector.spans) == 301


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c"}, True),
        ({"OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": "http://c/v1/logs"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_it_is_off_unless_it_is_configured(environment: Mapping[str, str], wanted: bool) -> None:
    assert export._is_wanted(None, environment) is wanted
    assert export._is_wanted(False, environment) is False
    assert export._is_wanted(True, environment) is True


def test_nobody_is_told_where_it_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    assert session_telemetry("s") is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("LUCID_OTEL", "false")
    assert session_telemetry("s") is None


def test_a_collector_that_is_down_holds_up_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as deaf:
        deaf.bind(("127.0.0.1", 0))
        deaf.listen()  # takes connections, and says nothing
        monkeypatch.setenv(
            "OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{deaf.getsockname()[1]}"
        )
        telemetry = session_telemetry("s")
        assert telemetry is not None
        began = time.monotonic()
        for _ in range(5_000):
            telemetry.tell(VERDICT)
        telemetry.end()
        assert time.monotonic() - began < 5, "of work: nothing waits"
        began = time.monotonic()
        close_telemetry(0.2)
        assert time.monotonic() - began < 2


def test_a_protocol_that_is_not_spoken_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    assert session_telemetry("s") is None
    assert session_telemetry("s") is None
    (record,) = (one for one in caplog.records if one.name == "supervisor.telemetry.export")
    assert "http/protobuf only, and 'grpc' is asked for" in record.getMessage()


def test_without_opentelemetry_one_line_says_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> ModuleType:
        if name == "supervisor.telemetry.sending":
            raise ModuleNotFoundError("No module named 'opentelemetry'")
        return real(name, *args, **kwargs)

    monkeypatch.setenv("LUCID_OTEL", "true")
    monkeypatch.setattr(builtins, "__import__", without)
    assert session_telemetry("s") is None
    assert session_telemetry("t") is None
    (record,) = (one for one in caplog.records if one.name == "supervisor.telemetry.export")
    assert record.levelno == logging.ERROR
    assert record.getMessage() == (
        "telemetry is asked for, and OpenTelemetry is not installed; none goes out: "
        "install 'lucid-supervisor[otel]'"
    )


def test_the_names_are_those_of_the_conventions() -> None:
    theirs = {value for name, value in vars(gen_ai_attributes).items() if name.isupper()}
    ours = {value for name, value in vars(GenAi).items() if name.isupper()}
    assert ours <= theirs
    assert Lucid.EVALUATION == "gen_ai.evaluation.result"
