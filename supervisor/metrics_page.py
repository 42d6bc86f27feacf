"""The page on metrics, written from their definitions in `supervisor.metrics`.

`python -m supervisor.metrics_page` prints it; `make docs` writes it to `docs/metrics.md`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import get_args

from prometheus_client import CollectorRegistry

from supervisor.core.decision import Choice
from supervisor.core.entry import Entry
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Severity
from supervisor.metrics import HOOK_EVENTS, INCIDENT_SOURCES, Described, HookResult, Metrics

__all__ = ["described", "label_values", "main", "metrics_page"]

_INTRODUCTION = """\
# Metrics

<!-- Written by `make docs` from supervisor/metrics.py. Change that, not this page. -->

`lucid sidecar` serves these at `/metrics` of the address it listens on, and so does `lucid
worker --listen`. `lucid run --metrics-port 9464` (`resume`, `adopt` and `worker` likewise), or
`LUCID_METRICS_PORT=9464`, serves them at `http://127.0.0.1:9464/metrics` for as long as the
process lives; port 0 leaves the choice to the system. A program that uses `SupervisedClient` has
them on prometheus-client's default registry, beside its own, and can call
`supervisor.metrics.serve_metrics(port)`.

They are the metrics of one process. No label ever names a session, a file or anything else
that an agent wrote, so the number of series is bounded by the plugins that are installed. What
became of one session is in the store: `lucid sessions`, `lucid show SESSION`, the sidecar's
`/api/v1`.

Alerts, recording rules and dashboards on them are in
[dashboards/](../dashboards/README.md).
"""

_END = """\
Gauges of live sessions (`lucid_sessions` to `lucid_context_occupancy_ratio`) are summed up when
they are asked for; they show 0, not nothing, where there is none.
`lucid_context_occupancy_ratio` is a gauge histogram: `le` bounds its buckets, and its count and
sum are `_gcount` and `_gsum`. Sessions above 80 %:

```promql
sum(lucid_context_occupancy_ratio_bucket{le="+Inf"})
  - sum(lucid_context_occupancy_ratio_bucket{le="0.8"})
```

prometheus-client adds `_bucket`, `_count` and `_sum` to histograms, and `_created` series, which
`PROMETHEUS_DISABLE_CREATED_SERIES=true` leaves out.

A process that lives shorter than two scrapes leaves no rates behind. For `lucid run` in jobs
that take minutes, count what became of them in the store.
"""

_OTHERS = (
    ("use", ("input", "output", "cache_read", "cache_write"), ""),
    (
        "answer",
        (
            "confirmed",
            "rejected",
            "unclear",
            "late",
            "budget",
            "busy",
            "timeout",
            "malformed",
            "unreachable",
            "unreadable",
        ),
        "`late`: confirmed after the agent had gone on; `budget`, `busy`: not asked",
    ),
    ("way", ("webhook", "alertmanager", "slack"), ""),
    ("result", ("delivered", "failed"), "of an escalation"),
    (
        "operation",
        ("write", "record", "look"),
        "lines of a transcript; what Lucid records of a session; a worker that looks for sessions",
    ),
    ("source", INCIDENT_SOURCES, ""),
    ("area", ("hooks", "metrics", "healthz", "readyz", "api", "other"), ""),
)


def described() -> list[Described]:
    """Every metric of a process."""
    return Metrics(CollectorRegistry()).described()


def label_values() -> list[tuple[str, tuple[str, ...], str]]:
    """Labels whose values the code chooses, the values, and what is to be said of them."""
    return [
        ("state", tuple(SessionState), ""),
        ("kind", tuple(kind.__struct_config__.tag for kind in get_args(Entry)), ""),
        ("failure_mode", tuple(FailureMode), ""),
        ("severity", tuple(Severity), ""),
        ("choice", tuple(Choice), ""),
        ("status", tuple(OutcomeStatus), ""),
        ("event", (*HOOK_EVENTS, "other"), ""),
        ("result", tuple(HookResult), "of a hook"),
        *_OTHERS,
    ]


def metrics_page(metrics: Iterable[Described]) -> str:
    """The page, in Markdown; the same for the same metrics."""
    return "\n".join([_INTRODUCTION, *_table(metrics), "", *_labels(), "", _END])


def _table(metrics: Iterable[Described]) -> list[str]:
    rows = [f"| `{one.name}` | {one.type} | {_named(one.labels)} | {one.text} |" for one in metrics]
    return ["| name | type | labels | meaning |", "| --- | --- | --- | --- |", *rows]


def _labels() -> list[str]:
    rows = [
        f"| `{label}` | {_named(values)}{f' ({note})' if note else ''} |"
        for label, values, note in label_values()
    ]
    plugins = (
        "| `detector`, `action` | the names of those that are installed; `detector` is `judge` for "
        "a second opinion, `diagnosis` for an interruption, `stop` for the end of a turn and "
        "`limits` for a spent budget |"
    )
    rest = "| `code`, `version`, `python`, `sdk` | an HTTP status; versions of what is installed |"
    return ["| label | values |", "| --- | --- |", *rows, plugins, rest]


def _named(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def main() -> None:
    """Print the page."""
    sys.stdout.write(metrics_page(described()))


if __name__ == "__main__":
    main()
