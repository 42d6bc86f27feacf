"""What Lucid tells Prometheus. Labels come from closed sets, never from a session."""

from __future__ import annotations

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)

from supervisor.errors import SupervisorError

__all__ = ["METRICS", "Metrics", "serve_metrics"]


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self.entries = Counter(
            "lucid_entries", "Transcript entries read.", ["kind"], registry=registry
        )
        self.verdicts = Counter(
            "lucid_verdicts",
            "Verdicts found by detectors.",
            ["failure_mode", "detector", "severity"],
            registry=registry,
        )
        self.decisions = Counter(
            "lucid_decisions",
            "Decisions taken on verdicts; action is empty where none was chosen.",
            ["choice", "action"],
            registry=registry,
        )
        self.outcomes = Counter(
            "lucid_outcomes",
            "Outcomes of actions, as measured on the entries that followed.",
            ["failure_mode", "action", "status"],
            registry=registry,
        )
        self.action_tokens = Counter(
            "lucid_action_tokens",
            "Tokens that sessions took from an action's decision to its outcome.",
            ["failure_mode", "action"],
            registry=registry,
        )
        self.policy_reload_failures = Counter(
            "lucid_policy_reload_failures",
            "Changed policy files that were refused; the old policy stayed in use.",
            registry=registry,
        )
        self.policy_last_reload = Gauge(
            "lucid_policy_last_reload_success_timestamp_seconds",
            "Unix time at which a changed policy file was last taken over.",
            registry=registry,
        )
        self.open_sessions = Gauge(
            "lucid_open_sessions", "Sessions under supervision now.", registry=registry
        )
        self.last_progress = Gauge(
            "lucid_last_progress_timestamp_seconds",
            "Unix time at which the newest entry was judged.",
            registry=registry,
        )
        self.ingest_lag = Histogram(
            "lucid_ingest_lag_seconds",
            "From an entry's own time to the time it was judged.",
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=registry,
        )
        self.detector_errors = Counter(
            "lucid_detector_errors",
            "Detectors that raised and were switched off for a session.",
            ["detector"],
            registry=registry,
        )
        self.opinions = Counter(
            "lucid_opinions",
            "Second opinions, by what came of them.",
            ["failure_mode", "answer"],
            registry=registry,
        )
        self.escalations = Counter(
            "lucid_escalations",
            "Posts to those whom a policy names, by their form and whether they were taken.",
            ["way", "result"],
            registry=registry,
        )
        self.store_away = Gauge(
            "lucid_store_away",
            "Sessions whose store can be neither read nor written now.",
            registry=registry,
        )
        self.spooled_operations = Gauge(
            "lucid_spooled_operations",
            "Operations that wait on local disk for a store that is away.",
            registry=registry,
        )
        self.unprotected_calls = Counter(
            "lucid_unprotected_calls",
            "Tool calls that ran though the store did not hold them, as the policy allows.",
            registry=registry,
        )
        self.incidents = Counter(
            "lucid_incidents",
            "What went wrong in reading, storing or acting, by where.",
            ["source"],
            registry=registry,
        )


METRICS = Metrics()
"""The process's metrics, on the default registry."""


def serve_metrics(port: int, host: str = "127.0.0.1") -> int:
    """Serve `/metrics` on `host:port` from a background thread until the process ends.

    Returns the port, which 0 leaves to the system to choose. Raises `SupervisorError`
    where the port cannot be had.
    """
    try:
        server, _ = start_http_server(port, addr=host)
    except OSError as error:
        raise SupervisorError(
            f"cannot serve metrics on {host}:{port}: {error.strerror}. "
            "Choose another port with --metrics-port."
        ) from error
    return server.server_port
