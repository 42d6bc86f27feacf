"""What Prometheus gets: names, types, closed labels, and a port to scrape."""

from __future__ import annotations

import re
import socket
import time
from urllib.request import urlopen

import pytest
from prometheus_client import CollectorRegistry

from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode
from supervisor.errors import SupervisorError
from supervisor.metrics import METRICS, HookResult, Metrics, Vitals, serve_metrics

CLOSED = {
    "action",
    "answer",
    "area",
    "choice",
    "code",
    "detector",
    "event",
    "failure_mode",
    "kind",
    "operation",
    "python",
    "result",
    "sdk",
    "severity",
    "source",
    "state",
    "status",
    "use",
    "version",
    "way",
}
"""Labels whose values Lucid's code, what is installed and nobody else choose."""


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry)


def value(registry: CollectorRegistry, name: str, **labels: str) -> float | None:
    return registry.get_sample_value(name, labels)


def session(**vitals: object) -> Vitals:
    made = Vitals()
    for name, standing in vitals.items():
        setattr(made, name, standing)
    return made


def test_labels_come_from_closed_sets(metrics: Metrics) -> None:
    assert {label for one in metrics.described() for label in one.labels} == CLOSED


def test_names_and_texts_follow_prometheus(metrics: Metrics) -> None:
    for one in metrics.described():
        assert re.fullmatch(r"lucid(_[a-z]+)+", one.name)
        assert one.text.endswith((".", "SDK."))
        assert one.name.endswith("_total") == (one.type == "counter")
        assert (one.type != "histogram") or one.name.endswith("_seconds")


def test_all_that_is_served_is_described(metrics: Metrics, registry: CollectorRegistry) -> None:
    served = {f"{f.name}_total" if f.type == "counter" else f.name for f in registry.collect()}
    assert {one.name for one in metrics.described()} == served


def test_a_process_has_one_set_and_another_registry_may_have_its_own(metrics: Metrics) -> None:
    metrics.incidents.labels(source="store").inc()
    assert metrics is not METRICS


def test_the_build_says_its_versions(metrics: Metrics, registry: CollectorRegistry) -> None:
    (build,) = (f for f in registry.collect() if f.name == "lucid_build_info")
    (sample,) = build.samples
    assert sample.value == 1
    assert all(re.match(r"\d+\.\d+", version) for version in sample.labels.values())


def test_no_refused_policy_stands_at_the_start(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    assert value(registry, "lucid_policy_last_reload_successful") == 1


def test_sessions_are_counted_by_how_they_stand(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for state in (SessionState.RUNNING, SessionState.RUNNING, SessionState.PAUSED):
        metrics.live.add(session(state=state))

    found = {state: value(registry, "lucid_sessions", state=state) for state in SessionState}
    assert found == dict.fromkeys(SessionState, 0) | {
        SessionState.RUNNING: 2,
        SessionState.PAUSED: 1,
    }


def test_a_session_that_ended_is_no_longer_counted_and_ends_once(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    one = session()
    metrics.live.add(one)
    assert metrics.live.discard(one)
    assert not metrics.live.discard(one)
    assert value(registry, "lucid_sessions", state="running") == len(metrics.live) == 0


def test_the_longest_failure_and_silence_are_told(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    now = time.time()
    loop = FailureMode.LOOP
    metrics.live.add(session(failing={loop: now - 100}, turn_is_open=True, progressed_at=now - 7))
    metrics.live.add(session(failing={loop: now - 50}, progressed_at=now - 1_000))

    assert value(registry, "lucid_failing_sessions", failure_mode="loop") == 2
    longest = value(registry, "lucid_longest_failure_seconds", failure_mode="loop")
    assert longest == pytest.approx(100, abs=5)
    assert value(registry, "lucid_longest_failure_seconds", failure_mode="drift") == 0
    assert value(registry, "lucid_longest_silence_seconds") == pytest.approx(7, abs=5)


def test_occupancy_is_a_histogram_of_sessions_without_a_sessions_name(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for share in (0.0, 0.3, 0.85, 0.99):
        metrics.live.add(session(occupancy=share))

    def upto(le: str) -> float | None:
        return value(registry, "lucid_context_occupancy_ratio_bucket", le=le)

    assert (upto("0.25"), upto("0.5"), upto("0.8"), upto("0.9"), upto("+Inf")) == (0, 1, 1, 2, 3)
    assert value(registry, "lucid_context_occupancy_max_ratio") == 0.99
    assert value(registry, "lucid_context_occupancy_ratio_gcount") == 3


def test_nothing_is_what_no_session_shows(metrics: Metrics, registry: CollectorRegistry) -> None:
    assert value(registry, "lucid_context_occupancy_max_ratio") == 0
    assert value(registry, "lucid_longest_silence_seconds") == 0
    assert value(registry, "lucid_context_occupancy_ratio_bucket", le="+Inf") == 0


def test_what_a_detector_finds_is_there_before_it_finds_it(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.begin_at_zero({"loop": [FailureMode.LOOP]})
    labels = {"failure_mode": "loop", "detector": "loop", "severity": "warning"}
    assert value(registry, "lucid_verdicts_total", **labels) == 0
    assert value(registry, "lucid_detector_errors_total", detector="loop") == 0


def test_a_hook_that_nobody_knows_counts_as_other(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.hook("PreToolUse", HookResult.DENIED, 0.002)
    metrics.hook("../../etc/passwd", HookResult.QUIET, 0.001)

    requests = "lucid_hook_requests_total"
    assert value(registry, requests, event="PreToolUse", result="denied") == 1
    assert value(registry, requests, event="other", result="quiet") == 1
    assert value(registry, "lucid_hook_duration_seconds_count", event="PreToolUse") == 1


def test_they_are_served_over_http() -> None:
    port = serve_metrics(0)
    with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as response:
        page = response.read().decode()

    assert response.status == 200
    for one in METRICS.described():
        kind = one.type.removeprefix("gauge") if one.type == "gaugehistogram" else one.type
        assert f"# TYPE {one.name} {kind}\n" in page


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
