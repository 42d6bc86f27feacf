"""Log lines: their forms, what they carry, and what they keep to themselves."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from opentelemetry.sdk.trace import TracerProvider

from supervisor.telemetry import logs
from supervisor.telemetry.logs import Form, LineFormatter, bind_session, set_up_logs

TOKEN = "ghp_" + "a1B2" * 9


@contextmanager
def bare() -> Iterator[logging.Logger]:
    """The root logger without pytest's handlers; as it was, afterwards."""
    root = logging.getLogger()
    names = ("supervisor", "detectors", "recovery", "claude_agent_sdk", *logs._LOUD)
    before = [(logging.getLogger(name), logging.getLogger(name).level) for name in (*names, None)]
    handlers = root.handlers[:]
    root.handlers[:] = []
    try:
        yield root
    finally:
        root.handlers[:] = handlers
        for logger, level in before:
            logger.setLevel(level)


@pytest.fixture(autouse=True)
def unbound() -> Iterator[None]:
    token = logs._session.set(None)
    yield
    logs._session.reset(token)


def _line(form: Form, message: str, *args: object, **more: object) -> str:
    record = logging.LogRecord("supervisor.x", logging.WARNING, __file__, 1, message, args, None)
    vars(record).update(more)
    return LineFormatter(form).format(record)


def _json(message: str, *args: object, **more: object) -> dict[str, object]:
    found: dict[str, object] = json.loads(_line("json", message, *args, **more))
    return found


def test_a_plain_line_is_for_a_person() -> None:
    assert _line("plain", "session %s: gone", "s1") == "lucid: session s1: gone"


def test_a_line_of_json_has_fields() -> None:
    found = _json("session %s: gone", "s1")
    assert found.pop("timestamp")
    assert found == {
        "event": "session s1: gone",
        "level": "warning",
        "logger": "supervisor.x",
        "session_id": "s1",
    }


def test_a_line_for_a_console_has_them_too() -> None:
    line = _line("console", "session %s: gone", "s1")
    assert "[warning  ] session s1: gone [supervisor.x] session_id=s1" in line


def test_what_a_sessions_task_logs_is_about_it() -> None:
    bind_session("s2")
    assert _json("no word of it")["session_id"] == "s2"
    assert _json("session %s: another", "s1")["session_id"] == "s1"


def test_an_open_trace_is_named() -> None:
    assert "trace_id" not in _json("x")
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work") as span:
        found = _json("x")
    assert found["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    assert found["span_id"] == f"{span.get_span_context().span_id:016x}"


@pytest.mark.parametrize("form", ["plain", "console", "json"])
def test_no_secret_is_logged(form: Form) -> None:
    line = _line(form, "pushed with %s", TOKEN)
    assert TOKEN not in line
    assert "[redacted:github-token]" in line


@pytest.mark.parametrize("form", ["plain", "console", "json"])
def test_a_traceback_shows_no_values(form: Form) -> None:
    content_of_a_transcript = "a line" + " of it"
    try:
        raise RuntimeError(f"{len(content_of_a_transcript)} characters")
    except RuntimeError:
        line = _line(form, "it failed", exc_info=sys.exc_info())
    assert "RuntimeError" in line
    assert "test_a_traceback_shows_no_values" in line
    assert "a line of it" not in line


@pytest.mark.parametrize(
    ("environment", "stays", "wanted"),
    [
        ({}, False, {"error"}),
        ({}, True, {"error", "warning", "info"}),
        ({"LUCID_LOG_LEVEL": "INFO"}, False, {"error", "warning", "info"}),
        ({"LUCID_LOG_LEVEL": "debug"}, False, {"error", "warning", "info", "debug"}),
        ({"LUCID_LOG_LEVEL": "error"}, True, {"error"}),
    ],
)
def test_the_settings_say_from_which_level_on(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    stays: bool,
    wanted: set[str],
) -> None:
    for name, value in ({"LUCID_LOG_FORMAT": "json"} | environment).items():
        monkeypatch.setenv(name, value)
    out = io.StringIO()
    with bare():
        set_up_logs(logging.StreamHandler(out), stays=stays)
        log = logging.getLogger("supervisor.x")
        for level in ("debug", "info", "warning", "error"):
            log.log(logging.getLevelName(level.upper()), "said")
    assert {json.loads(line)["level"] for line in out.getvalue().splitlines()} == wanted


def test_it_may_be_set_up_again(monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = io.StringIO(), io.StringIO()
    with bare():
        set_up_logs(logging.StreamHandler(first))
        set_up_logs(logging.StreamHandler(second), stays=True)
        logging.getLogger("supervisor.x").error("once")
    assert first.getvalue() == ""
    assert second.getvalue().count("once") == 1


def test_a_programs_own_logs_stay_as_they_are() -> None:
    theirs = logging.StreamHandler(io.StringIO())
    with bare() as root:
        root.addHandler(theirs)
        set_up_logs(logging.StreamHandler())
        assert root.handlers == [theirs]


def test_what_others_do_in_detail_is_not_logged() -> None:
    out = io.StringIO()
    set_up_logs(logging.StreamHandler(out), stays=True)
    logging.getLogger("somebody.elses").info("detail")
    logging.getLogger("claude_agent_sdk").error("it comes as an exception too")
    assert out.getvalue() == ""
