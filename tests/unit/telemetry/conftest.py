"""A collector that the environment names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from supervisor.telemetry.export import close_telemetry
from tests.collector import Collector, collecting


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """It gets all once telemetry is closed."""
    close_telemetry()
    with collecting() as taken:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", taken.url)
        yield taken
        close_telemetry()
