"""`Sender`: OpenTelemetry's providers, for this process. Needs the extra `otel`."""

from __future__ import annotations

import logging
import os
import threading
import time
from importlib.metadata import version

from opentelemetry.exporter.otlp.proto.http._log_exporter import OTLPLogExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

__all__ = ["Sender"]

_SAID_EVERY = 300.0
"""Seconds between two words on a collector that is down."""
_EXPORTERS = ("trace_exporter", "_log_exporter", "_common")


class Sender:
    """Sends spans and events, each in a thread of its own, as `OTEL_*` says.

    Its providers are its own: a program's are left alone.
    """

    def __init__(self) -> None:
        for name in _EXPORTERS:
            logging.getLogger(f"opentelemetry.exporter.otlp.proto.http.{name}").addFilter(_seldom)
        resource = Resource.create(_resource())
        lucid = version("lucid-supervisor")
        self._exporters: list[OTLPSpanExporter | OTLPLogExporter] = []
        self._spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        if _is_on("OTEL_TRACES_EXPORTER"):
            spans = OTLPSpanExporter()
            self._spans.add_span_processor(BatchSpanProcessor(spans))
            self._exporters.append(spans)
        self._events = LoggerProvider(resource=resource, shutdown_on_exit=False)
        if _is_on("OTEL_LOGS_EXPORTER"):
            events = OTLPLogExporter()
            self._events.add_log_record_processor(BatchLogRecordProcessor(events))
            self._exporters.append(events)
        self.tracer = self._spans.get_tracer("lucid", lucid)
        self.events = self._events.get_logger("lucid", lucid)

    def close(self, within: float) -> None:
        """Send what is queued, for so many seconds at most, and stop."""
        closing = threading.Thread(target=self._shut_down, daemon=True)
        closing.start()
        closing.join(within)
        for exporter in self._exporters if closing.is_alive() else ():
            exporter.shutdown()  # type: ignore[no-untyped-call] # one of the two says no types

    def _shut_down(self) -> None:
        self._events.shutdown()
        self._spans.shutdown()


def _resource() -> dict[str, str]:
    """The service's name, unless the environment has one."""
    named = "service.name=" in os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if named or os.environ.get("OTEL_SERVICE_NAME"):
        return {}
    return {"service.name": "lucid"}


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "otlp").strip().lower() != "none"


class _Seldom(logging.Filter):
    """Lets a message through once in a while."""

    def __init__(self) -> None:
        super().__init__()
        self._said: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        now = time.monotonic()
        if now - self._said.get(record.name, -_SAID_EVERY) < _SAID_EVERY:
            return False
        self._said[record.name] = now
        return True


_seldom = _Seldom()
