"""Supervisor health: whether Lucid itself does its work, and in time."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.source.panels import Ask, bars, board, figure, lines, selected, stack, steps

__all__ = ["health"]

_ALL = selected()
_RATE = "[$__rate_interval]"


def _quantile(share: float, metric: str, by: str = "") -> str:
    labels = f"{by}, le" if by else "le"
    return (
        f"histogram_quantile({share}, sum by ({labels}) (rate({metric}_bucket{{{_ALL}}}{_RATE})))"
    )


def health() -> Dashboard:
    """The dashboard."""
    made = board(
        "supervisor", "Lucid / Supervisor health", "Whether Lucid itself does its work, in time."
    )
    for panel in (
        figure(
            "Processes up",
            "Processes of Lucid that Prometheus reaches.",
            Ask(f"count(lucid_build_info{{{_ALL}}}) or vector(0)"),
        ),
        figure(
            "Last progress",
            "Since any entry was judged. It grows as long as no agent does anything.",
            Ask(f"time() - max(lucid_last_progress_timestamp_seconds{{{_ALL}}} > 0)"),
            unit="s",
        ),
        figure(
            "Entries a second",
            "Lines of transcripts that were stored and judged.",
            Ask(f"sum(rate(lucid_entries_total{{{_ALL}}}{_RATE}))"),
        ),
        figure(
            "Store away",
            "Sessions and followed folders whose store is away now: what they write waits.",
            Ask(f"sum(lucid_store_away{{{_ALL}}})"),
            thresholds=steps(1),
        ),
        figure(
            "Refused policies",
            "Processes whose policy on disk has faults; the one before stays in use.",
            Ask(f"count(lucid_policy_last_reload_successful{{{_ALL}}} == 0) or vector(0)"),
            thresholds=steps(1),
        ),
        figure(
            "Incidents an hour",
            "What went wrong on Lucid's side.",
            Ask(f"sum(increase(lucid_incidents_total{{{_ALL}}}[1h])) or vector(0)"),
            thresholds=steps(1, 10),
        ),
        lines(
            "From entry to verdict",
            "How long after it was written an entry is judged.",
            Ask(_quantile(0.5, "lucid_ingest_lag_seconds"), "half within"),
            Ask(_quantile(0.99, "lucid_ingest_lag_seconds"), "99 % within"),
            unit="s",
            thresholds=steps(5),
        ),
        lines(
            "Hooks",
            "An agent waits for as long: 99 % of the answers come within this time.",
            Ask(_quantile(0.99, "lucid_hook_duration_seconds", "event"), "{{event}}"),
            unit="s",
        ),
        stack(
            "What hooks came to",
            "Requests a second, by what came of them.",
            Ask(
                f"sum by (result) (rate(lucid_hook_requests_total{{{_ALL}}}{_RATE}))", "{{result}}"
            ),
            unit="reqps",
            span=8,
        ),
        stack(
            "Refused and failed requests",
            "Requests to the service a second that were answered by 4xx or 5xx.",
            Ask(
                "sum by (area, code) (rate(lucid_http_requests_total{"
                + selected('code=~"[45].."')
                + f"}}{_RATE}))",
                "{{area}} {{code}}",
            ),
            unit="reqps",
            span=8,
        ),
        stack(
            "Incidents",
            "In five minutes, by where.",
            Ask(f"sum by (source) (increase(lucid_incidents_total{{{_ALL}}}[5m]))", "{{source}}"),
            Ask(f"sum(increase(lucid_unprotected_calls_total{{{_ALL}}}[5m]))", "unprotected calls"),
            span=8,
        ),
        lines(
            "Store",
            "99 % of writes are done within this time.",
            Ask(_quantile(0.99, "lucid_store_duration_seconds", "operation"), "{{operation}}"),
            unit="s",
            span=8,
        ),
        stack(
            "Waiting for the store",
            "Operations that wait on local disk, and those that the store refused in five minutes.",
            Ask(f"sum(lucid_spooled_operations{{{_ALL}}})", "waiting"),
            Ask(f"sum(increase(lucid_store_errors_total{{{_ALL}}}[5m]))", "refused"),
            span=8,
        ),
        lines(
            "Judging one line",
            "Reading it, and all detectors.",
            Ask(_quantile(0.5, "lucid_judging_duration_seconds"), "half within"),
            Ask(_quantile(0.99, "lucid_judging_duration_seconds"), "99 % within"),
            unit="s",
            span=8,
        ),
        bars(
            "Detectors' share of a core",
            "Time spent in each detector.",
            Ask(
                f"topk(10, sum by (detector) (rate(lucid_detector_seconds_total{{{_ALL}}}[5m])))",
                "{{detector}}",
            ),
            unit="percentunit",
        ),
        bars(
            "Detectors switched off",
            "That raised in a session, in the time that is shown.",
            Ask(
                "sum by (detector) "
                f"(increase(lucid_detector_errors_total{{{_ALL}}}[$__range])) > 0",
                "{{detector}}",
            ),
            thresholds=steps(1),
        ),
        bars(
            "Versions",
            "Processes, by Lucid's version.",
            Ask(f"count by (version) (lucid_build_info{{{_ALL}}})", "{{version}}"),
        ),
    ):
        made.with_panel(panel)
    return made
