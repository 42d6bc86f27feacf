"""How log lines look: plain for a person, in columns for a console, JSON for a machine.

Modules log by `logging.getLogger(__name__)`, as any library. What puts their lines into form
is structlog, which is imported with the first line that is to be formed. Each has its time,
level, logger and, where it is about one, its session; the ids of a trace where a program has
one open; and no secret. What transcripts hold is logged at the level `debug` only.
"""

from __future__ import annotations

import logging
import re
import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Literal

from supervisor.privacy.redaction import redactor
from supervisor.settings import read_settings

if TYPE_CHECKING:
    from structlog.stdlib import ProcessorFormatter
    from structlog.typing import EventDict, WrappedLogger

__all__ = ["LineFormatter", "bind_session", "set_up_logs"]

Form = Literal["plain", "console", "json"]

_session: ContextVar[str | None] = ContextVar("lucid_session", default=None)
_ABOUT_SESSION = re.compile(r"session %s\b")
"""How a message begins that is about one, by this project's custom."""
_LOUD = ("procrastinate", "uvicorn", "httpx", "httpx2", "watchfiles")
"""Libraries whose word on all that they do is of no use to anybody here."""


def set_up_logs(handler: logging.Handler, *, stays: bool = False) -> None:
    """Have what is logged go to `handler`, as the settings say. A process that `stays`, and
    that nobody sits before, says by default what it does; others only what goes wrong.

    Where a program has set up logs of its own, they stay as they are. May be called again.
    """
    settings = read_settings()
    root = logging.getLogger()
    if any(not _is_ours(one) for one in root.handlers):
        return
    level = (settings.log_level or ("info" if stays else "error")).upper()
    handler.setFormatter(LineFormatter(settings.log_format or ("console" if stays else "plain")))
    root.handlers[:] = [handler]
    # Others' libraries are of interest where something is wrong, or is looked for.
    root.setLevel(level if level in ("DEBUG", "ERROR") else logging.WARNING)
    logging.getLogger("supervisor").setLevel(level)
    for name in ("detectors", "recovery"):
        logging.getLogger(name).setLevel(level)
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.WARNING)
    # The SDK's errors come as exceptions too.
    logging.getLogger("claude_agent_sdk").setLevel(logging.CRITICAL + 1)


def bind_session(session_id: str) -> None:
    """What this task logs from now on, and those it starts, is about this session."""
    _session.set(session_id)


def _is_ours(handler: logging.Handler) -> bool:
    return isinstance(handler.formatter, LineFormatter)


class LineFormatter(logging.Formatter):
    """One record, one line, without secrets."""

    def __init__(self, form: Form) -> None:
        super().__init__("lucid: %(message)s")
        self._form = form
        self._structured: ProcessorFormatter | None = None

    def format(self, record: logging.LogRecord) -> str:
        """The line; a traceback follows it on lines of its own, but for JSON."""
        if self._form == "plain":
            return redactor().text(super().format(record))
        record.session_id = _session_of(record)
        if self._structured is None:
            self._structured = _structured(self._form)
        line = self._structured.format(record)
        if self._form == "json":
            return redactor().json(line.encode()).decode()
        return redactor().text(line)


def _session_of(record: logging.LogRecord) -> str | None:
    if isinstance(record.args, tuple) and record.args and _ABOUT_SESSION.match(str(record.msg)):
        return str(record.args[0])
    return _session.get()


def _structured(form: Form) -> ProcessorFormatter:
    import structlog
    from structlog.stdlib import ProcessorFormatter, add_log_level, add_logger_name
    from structlog.tracebacks import ExceptionDictTransformer

    # Without the values of variables, which hold transcripts.
    plain, frames = structlog.dev.plain_traceback, ExceptionDictTransformer(show_locals=False)
    last: list[structlog.typing.Processor] = (
        [
            structlog.processors.ExceptionRenderer(frames),
            structlog.processors.JSONRenderer(),
        ]
        if form == "json"
        else [
            structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(), pad_event_to=0, exception_formatter=plain
            )
        ]
    )
    return ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            add_log_level,
            add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _with_session,
            _with_trace,
        ],
        processors=[ProcessorFormatter.remove_processors_meta, *last],
    )


def _with_session(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if event["_record"].session_id is not None:
        event.setdefault("session_id", event["_record"].session_id)
    return event


def _with_trace(logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
    if "opentelemetry.trace" not in sys.modules:  # then nobody has a trace open
        return event
    from opentelemetry.trace import get_current_span

    context = get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = f"{context.trace_id:032x}"
        event["span_id"] = f"{context.span_id:016x}"
    return event
