"""What Lucid tells Prometheus. Labels come from closed sets, never from a session.

What has happened is counted where it happens. What is the case now is asked of the sessions
that this process supervises when somebody looks (`LiveSessions`): an entry costs them next to
nothing. `docs/metrics.md` is written from this file.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple

from prometheus_client import (
    REGISTRY,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    start_http_server,
)
from prometheus_client.core import GaugeHistogramMetricFamily, GaugeMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Severity
from supervisor.errors import SupervisorError

__all__ = [
    "HOOK_EVENTS",
    "INCIDENT_SOURCES",
    "METRICS",
    "Described",
    "HookResult",
    "LiveSessions",
    "Metrics",
    "Vitals",
    "serve_metrics",
]

HOOK_EVENTS = (
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "UserPromptSubmit",
    "Stop",
    "StopFailure",
    "SubagentStop",
    "PreCompact",
    "SessionStart",
    "SessionEnd",
)
"""The hooks that Lucid asks for; any other counts as `other`."""


INCIDENT_SOURCES = (
    "ingest",
    "store",
    "files",
    "policy",
    "detector",
    "action",
    "template",
    "judge",
    "escalation",
)
"""Where something can go wrong on Lucid's side. A plugin may name another."""


class HookResult(StrEnum):
    """What came of a hook's request that could be read."""

    QUIET = "quiet"
    """There was nothing to say."""
    CONTEXT = "context"
    """The agent was told something."""
    DENIED = "denied"
    """A tool call was refused."""
    KEPT_ON = "kept_on"
    """The agent was about to end its turn, and was kept at work."""
    REPEATED = "repeated"
    """It had come before, and was answered the same."""
    LATE = "late"
    """Its time was up before there was an answer; it was let pass."""
    UNKNOWN_SESSION = "unknown_session"
    """Of a session that is not followed here; it was let pass."""
    FAILED = "failed"
    """A fault on Lucid's side; it was let pass."""


_OCCUPANCIES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
_LAGS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_SHORT = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
"""From well below what a hook may take (3 ms at the median) to what holds an agent up."""
_JUDGING = (0.00005, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25, 1)
_DELAYS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""From the next tool boundary to the end of a long tool call."""


class Described(NamedTuple):
    """A metric, as `/metrics` and the documentation have it."""

    name: str
    """As it is asked for, `_total` included."""
    type: str
    labels: tuple[str, ...]
    text: str


class Vitals:
    """How one session that this process supervises stands. Cheap to keep up to date."""

    __slots__ = ("failing", "occupancy", "progressed_at", "state", "turn_is_open")

    def __init__(self) -> None:
        self.state = SessionState.RUNNING
        self.turn_is_open = False
        """Its main agent is at work, as far as its transcript tells."""
        self.progressed_at = time.time()
        """Unix time of what its agents did last."""
        self.occupancy = 0.0
        """Of its main agent's context window, 0..1; 0 where that is not known yet."""
        self.failing: dict[FailureMode, float] = {}
        """The failures that it shows now, and the Unix time from which it has shown each."""


class LiveSessions(Collector):
    """The sessions that this process supervises now, summed up when Prometheus asks."""

    def __init__(self) -> None:
        self._sessions: set[Vitals] = set()

    def add(self, session: Vitals) -> None:
        """Supervision of a session begins."""
        self._sessions.add(session)

    def discard(self, session: Vitals) -> bool:
        """It ends; returns whether it had begun, and not ended yet."""
        if session not in self._sessions:
            return False
        self._sessions.discard(session)
        return True

    def __len__(self) -> int:
        return len(self._sessions)

    def describe(self) -> Iterable[Metric]:
        """The same families, as nobody has them."""
        return _summed_up([], 0.0)

    def collect(self) -> Iterable[Metric]:
        """Their figures now."""
        return _summed_up(list(self._sessions), time.time())


def _summed_up(sessions: Sequence[Vitals], now: float) -> Iterator[Metric]:
    yield _gauge(
        "lucid_sessions",
        "Sessions that this process supervises now, by how they stand.",
        "state",
        {state: sum(one.state is state for one in sessions) for state in SessionState},
    )
    failing = {mode: [one.failing.get(mode) for one in sessions] for mode in FailureMode}
    since = {mode: [at for at in found if at is not None] for mode, found in failing.items()}
    yield _gauge(
        "lucid_failing_sessions",
        "Sessions that show this failure now: one that a rule is about was found, and since then "
        "no action has cleared it, no turn has begun or ended, no five tool results came without "
        "it, and the session was neither paused nor aborted.",
        "failure_mode",
        {mode: len(found) for mode, found in since.items()},
    )
    yield _gauge(
        "lucid_longest_failure_seconds",
        "For how long the session that has shown this failure for longest has shown it; 0 "
        "where none does.",
        "failure_mode",
        {mode: max(0.0, now - min(found, default=now)) for mode, found in since.items()},
    )
    working = [one.progressed_at for one in sessions if one.turn_is_open]
    longest = max(0.0, now - min(working, default=now))
    yield GaugeMetricFamily(
        "lucid_longest_silence_seconds",
        "For how long the session in the midst of a turn that has been silent for longest has "
        "been so; 0 where none is in a turn.",
        longest,
    )
    used = [one.occupancy for one in sessions if one.occupancy]
    yield GaugeMetricFamily(
        "lucid_context_occupancy_max_ratio",
        "Share of its context window that the fullest main agent uses; 0 where none is known.",
        max(used, default=0.0),
    )
    buckets = [(str(top), float(sum(share <= top for share in used))) for top in _OCCUPANCIES]
    yield GaugeHistogramMetricFamily(
        "lucid_context_occupancy_ratio",
        "Sessions by the share of the context window that their main agent uses now; those "
        "whose model has not answered yet are left out.",
        buckets=[*buckets, ("+Inf", float(len(used)))],
        gsum_value=sum(used),
    )


def _gauge(name: str, text: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


class Metrics:
    """The metrics of one process."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._registry = registry
        self._own: list[MetricWrapperBase] = []
        self.live = LiveSessions()
        registry.register(self.live)
        self._what_agents_do()
        self._what_is_done_about_it()
        self._how_lucid_does()
        self._what_lucid_stands_on()
        # To look a series up by its labels takes longer than to count.
        self._hook_requests = cache(self.hook_requests.labels)
        self._hook_duration = cache(self.hook_duration.labels)

    def described(self) -> list[Described]:
        """Every metric, in the order of their definition, those of live sessions first."""
        live = [
            Described(one.name, one.type, tuple(dict.fromkeys(_labels(one))), one.documentation)
            for one in self.live.describe()
        ]
        return live + [_described(metric) for metric in self._own]

    def begin_at_zero(self, failure_modes: Mapping[str, Iterable[FailureMode]]) -> None:
        """Have the series of these detectors, each with the modes it finds, stand at 0 where
        they do not exist yet: Prometheus cannot see a series rise from nothing."""
        for detector, modes in failure_modes.items():
            self.detector_errors.labels(detector)
            for mode in modes:
                self.wasted_tokens.labels(mode)
                self.decisions.labels(mode, Choice.EXHAUSTED, "")
                self.verdicts.labels(mode, detector, Severity.WARNING)
                self.verdicts.labels(mode, detector, Severity.CRITICAL)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(name, text, labels, registry=self._registry)
        self._own.append(counter)
        return counter

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(name, text, labels, registry=self._registry)
        self._own.append(gauge)
        return gauge

    def _histogram(self, name: str, text: str, *labels: str, buckets: Sequence[float]) -> Histogram:
        histogram = Histogram(name, text, labels, registry=self._registry, buckets=buckets)
        self._own.append(histogram)
        return histogram

    def _what_agents_do(self) -> None:
        self.ended = self._counter(
            "lucid_sessions_ended",
            "Sessions whose supervision by this process ended, by how they stood then.",
            "state",
        )
        for state in SessionState:
            self.ended.labels(state)
        self.entries = self._counter(
            "lucid_entries",
            "Transcript entries that were stored and judged. Those that a fork or a resumed "
            "session inherits were counted where they first stood.",
            "kind",
        )
        self.tokens = self._counter(
            "lucid_tokens",
            "Tokens that models read and wrote, as the transcripts say, by how they are billed.",
            "use",
        )
        self.verdicts = self._counter(
            "lucid_verdicts",
            "Findings, whatever was done about them.",
            "failure_mode",
            "detector",
            "severity",
        )
        self.wasted_tokens = self._counter(
            "lucid_wasted_tokens",
            "Estimate: tokens that a session took from a failure's onset until it was found. "
            "What lies in two failures counts for the first that was found.",
            "failure_mode",
        )

    def _what_is_done_about_it(self) -> None:
        self.decisions = self._counter(
            "lucid_decisions",
            'Answers to verdicts, one for each. Only `choice="act"` leads to an action; '
            "`action` is empty where none was chosen.",
            "failure_mode",
            "choice",
            "action",
        )
        self.interventions = self._counter(
            "lucid_interventions",
            "Actions that were decided on, to be taken at once.",
            "failure_mode",
            "action",
        )
        self.intervention_delay = self._histogram(
            "lucid_intervention_delay_seconds",
            "From the decision for an action to its effect: to the agent being shown, or told, "
            "what it says.",
            "action",
            buckets=_DELAYS,
        )
        self.outcomes = self._counter(
            "lucid_outcomes",
            "How actions turned out. A cleared failure that comes back counts a second time, as "
            "`relapsed`.",
            "failure_mode",
            "action",
            "status",
        )
        self.action_tokens = self._counter(
            "lucid_action_tokens",
            "Tokens read and written by a session's agents from the decision for an action until "
            "its outcome: what it took to see whether it helps.",
            "failure_mode",
            "action",
        )
        self.escalations = self._counter(
            "lucid_escalations",
            "Posts to the targets of a policy's `escalation`; one that is tried again counts once.",
            "way",
            "result",
        )
        self.opinions = self._counter(
            "lucid_opinions",
            "Questions to the policy's `judge`, one for each verdict that it could have changed "
            "something about.",
            "failure_mode",
            "answer",
        )

    def _how_lucid_does(self) -> None:
        self.last_progress = self._gauge(
            "lucid_last_progress_timestamp_seconds",
            "Unix time at which the newest entry of any session was judged, or at which a session "
            "began; 0 before the first.",
        )
        self.ingest_lag = self._histogram(
            "lucid_ingest_lag_seconds",
            "From the time that an entry bears to the time it was judged.",
            buckets=_LAGS,
        )
        self.judging_duration = self._histogram(
            "lucid_judging_duration_seconds",
            "To read one line of a transcript and to have all detectors judge it.",
            buckets=_JUDGING,
        )
        self.detector_seconds = self._counter(
            "lucid_detector_seconds",
            "Time that was spent in a detector, from a sample: one entry in 16 stands for all.",
            "detector",
        )
        self.detector_errors = self._counter(
            "lucid_detector_errors",
            "Detectors that raised, each switched off for the rest of its session.",
            "detector",
        )
        self.hook_duration = self._histogram(
            "lucid_hook_duration_seconds",
            "From a hook's request to its answer, by the event; the agent waits for that long.",
            "event",
            buckets=_SHORT,
        )
        self.hook_requests = self._counter(
            "lucid_hook_requests", "Hooks' requests, by what came of them.", "event", "result"
        )
        self.http_requests = self._counter(
            "lucid_http_requests",
            "Requests to the service, refused ones included, by part and HTTP status.",
            "area",
            "code",
        )
        self.incidents = self._counter(
            "lucid_incidents",
            "What went wrong on Lucid's side. A detector's error counts here too.",
            "source",
        )

    def _what_lucid_stands_on(self) -> None:
        self.store_duration = self._histogram(
            "lucid_store_duration_seconds",
            "To write to the store: lines of a transcript, or what Lucid records of a session.",
            "operation",
            buckets=_SHORT,
        )
        self.store_errors = self._counter(
            "lucid_store_errors",
            "Operations that the store did not take, or not answer.",
            "operation",
        )
        self.store_away = self._gauge(
            "lucid_store_away",
            "Sessions, and folders that a sidecar follows, whose store is away now. What they "
            "write waits on local disk; what a sidecar reads waits in the transcripts.",
        )
        self.spooled_operations = self._gauge(
            "lucid_spooled_operations",
            "Operations that wait there. It goes up as long as agents work on, and to 0 when the "
            "store is back.",
        )
        self.unprotected_calls = self._counter(
            "lucid_unprotected_calls",
            "Tool calls that ran though they were not in the store yet: the policy says "
            "`when_away: go_on`, or the agent is followed by a sidecar, which holds none.",
        )
        self.policy_reload_failures = self._counter(
            "lucid_policy_reload_failures",
            "Changed policy files with faults; the policy before stays in use.",
        )
        self.policy_reload_successful = self._gauge(
            "lucid_policy_last_reload_successful",
            "Whether the policy's files, as they are now, are in use: 0 while a change stands "
            "refused.",
        )
        self.policy_last_reload = self._gauge(
            "lucid_policy_last_reload_success_timestamp_seconds",
            "Unix time at which a changed policy file was last taken over; 0 before the first.",
        )
        self.build_info = self._gauge(
            "lucid_build_info",
            "1, with the versions of Lucid, of Python and of the Agent SDK.",
            "version",
            "python",
            "sdk",
        )
        self.policy_reload_successful.set(1)
        self.build_info.labels(
            _installed("lucid-supervisor"),
            platform.python_version(),
            _installed("claude-agent-sdk"),
        ).set(1)
        for operation in ("write", "record", "look"):
            self.store_errors.labels(operation)
        for source in INCIDENT_SOURCES:
            self.incidents.labels(source)
        for event in HOOK_EVENTS:
            self.hook_requests.labels(event, HookResult.FAILED)

    def hook(self, event: str, result: HookResult, seconds: float) -> None:
        """Count a hook's request that was answered, in so many seconds. An event that this
        version does not know counts as `other`."""
        known = event if event in HOOK_EVENTS else "other"
        self._hook_requests(known, result).inc()
        self._hook_duration(known).observe(seconds)


def _labels(family: Metric) -> Iterator[str]:
    """Of a family that stands for live sessions; a bucket's bound is none."""
    for sample in family.samples:
        yield from (name for name in sample.labels if name != "le")


def _described(metric: MetricWrapperBase) -> Described:
    (family,) = metric.describe()
    suffix = "_total" if family.type == "counter" else ""
    labels = tuple(metric._labelnames)
    return Described(family.name + suffix, family.type, labels, family.documentation)


def _installed(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # run from its files, without having been installed
        return "unknown"


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
