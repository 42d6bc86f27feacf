"""What Prometheus gets: names, types, closed labels, and a port to scrape."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry, Metric

from supervisor.errors import SupervisorError
from supervisor.metrics import METRICS, Metrics, serve_metrics

EXPECTED = {
    "lucid_entries": ("counter", ("kind",)),
    "lucid_verdicts": ("counter", ("failure_mode", "detector", "severity")),
    "lucid_decisions": ("counter", ("choice", "action")),
    "lucid_outcomes": ("counter", ("failure_mode", "action", "status")),
    "lucid_action_tokens": ("counter", ("failure_mode", "action")),
    "lucid_policy_reload_failures": ("counter", ()),
    "lucid_policy_last_reload_success_timestamp_seconds": ("gauge", ()),
    "lucid_open_sessions": ("gauge", ()),
    "lucid_last_progress_timestamp_seconds": ("gauge", ()),
    "lucid_ingest_lag_seconds": ("histogram", ()),
    "lucid_detector_errors": ("counter", ("detector",)),
    "lucid_opinions": ("counter", ("failure_mode", "answer")),
    "lucid_escalations": ("counter", ("way", "result")),
    "lucid_store_away": ("gauge", ()),
    "lucid_spooled_operations": ("gauge", ()),
    "lucid_unprotected_calls": ("counter", ()),
    "lucid_incidents": ("counter", ("source",)),
}

CLOSED = {
    "action",
    "answer",
    "choice",
    "detector",
    "failure_mode",
    "kind",
    "result",
    "severity",
    "source",
    "status",
    "way",
}
"""Labels whose values Lucid's code, the installed plugins and nobody else choose."""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def families(registry: CollectorRegistry) -> Iterator[Metric]:
    return iter(registry.collect())


def labels_of(metrics: Metrics) -> dict[str, tuple[str, ...]]:
    return {metric._name: metric._labelnames for metric in vars(metrics).values()}


def test_there_are_these_metrics_and_no_others(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    labels = labels_of(metrics)
    found = {family.name: (family.type, labels[family.name]) for family in families(registry)}

    assert found == EXPECTED


def test_labels_come_from_closed_sets(metrics: Metrics) -> None:
    assert {label for labels in labels_of(metrics).values() for label in labels} <= CLOSED


def test_names_and_texts_follow_prometheus(metrics: Metrics, registry: CollectorRegistry) -> None:
    for family in families(registry):
        assert re.fullmatch(r"lucid(_[a-z]+)+", family.name)
        assert family.documentation.endswith(".")


def test_a_process_has_one_set_and_another_registry_may_have_its_own(metrics: Metrics) -> None:
    metrics.incidents.labels(source="store").inc()
    assert metrics is not METRICS


def test_they_are_served_over_http() -> None:
    port = serve_metrics(0)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        page = response.read().decode()

    assert response.status == 200
    for name, (kind, _) in EXPECTED.items():
        total = "_total" if kind == "counter" else ""
        assert f"# TYPE {name}{total} {kind}\n" in page


def test_a_port_that_is_taken_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SupervisorError) as caught:
            serve_metrics(port)

    said = str(caught.value)
    assert said == (
        f"cannot serve metrics on 127.0.0.1:{port}: Address already in use. "
        "Choose another port with --metrics-port."
    )
    assert "\n" not in said


def test_a_host_that_is_not_here_is_an_error_that_names_it() -> None:
    with pytest.raises(SupervisorError, match=r"cannot serve metrics on 203\.0\.113\.1:0: "):
        serve_metrics(0, "203.0.113.1")
