"""Telemetry out: what is found and done in sessions, to whoever collects OpenTelemetry.

Off unless it is configured, by OpenTelemetry's own environment variables or by Lucid's
setting `otel`. Nothing here waits for the collector: what is told is queued, a thread sends
it, and what does not fit into the queue is dropped. The end of the process waits for the
rest, `CLOSE_WITHIN` seconds at most.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
from collections.abc import Mapping
from functools import cache, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.settings import read_settings, settings_file
from supervisor.store.interface import Incident

if TYPE_CHECKING:
    from supervisor.telemetry.sending import Sender
    from supervisor.telemetry.session import SessionTelemetry

__all__ = ["CLOSE_WITHIN", "close_telemetry", "session_telemetry"]

log = logging.getLogger(__name__)

CLOSE_WITHIN = 2.0
"""Seconds that the end of a process waits for what is still to be sent."""

Event = Verdict | Decision | Outcome | Incident

_ENDPOINTS = (
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT",
)

_lock = threading.Lock()
_sender: Sender | None = None


def session_telemetry(session_id: str) -> SessionTelemetry | None:
    """Who is told what happens in a session; None where nobody collects it. `end` it."""
    if not _is_wanted(_asked(os.environ.get("LUCID_OTEL"), settings_file()), os.environ):
        return None
    sender = _the_sender()
    if sender is None:
        return None
    from supervisor.telemetry.session import SessionTelemetry

    return SessionTelemetry(session_id, sender)


def close_telemetry(within: float = CLOSE_WITHIN) -> None:
    """Send what is left, for so many seconds at most. Who is told something later starts
    anew."""
    global _sender
    with _lock:
        sender, _sender = _sender, None
    if sender is not None:
        sender.close(within)


@lru_cache(maxsize=4)
def _asked(said: str | None, file: Path) -> bool | None:
    """The setting `otel`, which a sidecar asks for with each of its many sessions: read once
    for each place that it may stand in."""
    return read_settings().otel


def _is_wanted(asked: bool | None, environment: Mapping[str, str]) -> bool:
    """The setting, else whether OpenTelemetry's own variables name a collector."""
    if asked is not None:
        return asked
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(environment.get(name) for name in _ENDPOINTS)


def _the_sender() -> Sender | None:
    """The process's own, made when it is first asked for."""
    global _sender
    with _lock:
        if _sender is None:
            _sender = _started()
        return _sender


def _started() -> Sender | None:
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf").strip()
    if protocol != "http/protobuf":
        _say(f"telemetry goes out by http/protobuf only, and {protocol!r} is asked for; none does")
        return None
    try:
        from supervisor.telemetry.sending import Sender
    except ImportError:
        _say(
            "telemetry is asked for, and OpenTelemetry is not installed; none goes out: "
            "install 'lucid-supervisor[otel]'"
        )
        return None
    try:
        sender = Sender()
    except ValueError as error:
        _say(f"telemetry cannot go out as OTEL_* asks for it: {error}")
        return None
    atexit.register(close_telemetry)
    return sender


@cache
def _say(problem: str) -> None:
    """Once for each process."""
    log.error("%s", problem)
