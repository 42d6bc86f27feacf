"""Fleet: how all agents do, at a glance."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.source.panels import Ask, bars, board, figure, lines, selected, stack, steps

__all__ = ["fleet"]

_ALL = selected()
_RUNNING = selected('state="running"')
_BOUNDS = selected(r'le=~"0.5|0.8|0.9|0.95|\\+Inf"')
_FAILURE = selected('failure_mode!="stop"')


def _settled(status: str) -> str:
    outcomes = selected('failure_mode!="stop"', f'status=~"{status}"')
    return f"sum(increase(lucid_outcomes_total{{{outcomes}}}[6h]))"


def fleet() -> Dashboard:
    """The dashboard."""
    made = board("fleet", "Lucid / Fleet", "How all supervised agents do, and what they cost.")
    for panel in (
        figure(
            "Running sessions",
            "Sessions under supervision now whose agent is at work or may be given work.",
            Ask(f"sum(lucid_sessions{{{_RUNNING}}})"),
        ),
        figure(
            "Failing sessions",
            "Sessions that show a failure now which no action has cleared yet. One that shows "
            "two counts twice.",
            Ask(f"sum(lucid_failing_sessions{{{_FAILURE}}})"),
            thresholds=steps(1, 5),
        ),
        figure(
            "Fullest context",
            "Share of its window that the fullest main agent uses. Claude Code compacts by "
            "itself at 84 to 86 %.",
            Ask(f"max(lucid_context_occupancy_max_ratio{{{_ALL}}})"),
            unit="percentunit",
            thresholds=steps(0.8, 0.9),
        ),
        figure(
            "Interventions an hour",
            "Actions decided on in the last hour.",
            Ask(f"sum(increase(lucid_interventions_total{{{_FAILURE}}}[1h]))"),
        ),
        figure(
            "Recovered",
            "Of the actions of the last 6 hours that could be judged, the share that helped, and "
            "lasted.",
            Ask(
                f"clamp_min({_settled('cleared')} - {_settled('relapsed')}, 0) / "
                f"({_settled('cleared|failed')} > 0)"
            ),
            unit="percentunit",
            thresholds=steps(0.8, 0.5),
        ),
        figure(
            "Wasted tokens",
            "Estimate: share of the last hour's tokens that were taken between a failure's onset "
            "and its verdict.",
            Ask(
                f"sum(increase(lucid_wasted_tokens_total{{{_ALL}}}[1h])) / "
                f"(sum(increase(lucid_tokens_total{{{_ALL}}}[1h])) > 0)"
            ),
            unit="percentunit",
            thresholds=steps(0.1, 0.25),
        ),
        stack(
            "Sessions that fail now",
            "By failure mode. What stays is what no action clears.",
            Ask(
                f"sum by (failure_mode) (lucid_failing_sessions{{{_FAILURE}}})", "{{failure_mode}}"
            ),
        ),
        stack(
            "Failures found",
            "Verdicts in an hour, by failure mode, whatever was done about them.",
            Ask(
                f"sum by (failure_mode) (increase(lucid_verdicts_total{{{_FAILURE}}}[1h]))",
                "{{failure_mode}}",
            ),
        ),
        bars(
            "Context in use",
            "Sessions that use at most this share of their main agent's context window; the "
            "last bar is all of them.",
            Ask(
                f"sum by (le) (lucid_context_occupancy_ratio_bucket{{{_BOUNDS}}})",
                "up to {{le}}",
            ),
        ),
        stack(
            "Tokens",
            "Tokens a second, by how they are billed.",
            Ask(f"sum by (use) (rate(lucid_tokens_total{{{_ALL}}}[$__rate_interval]))", "{{use}}"),
            span=8,
        ),
        stack(
            "Sessions ended",
            "Sessions that Lucid let go of in an hour, by how they stood then.",
            Ask(
                f"sum by (state) (increase(lucid_sessions_ended_total{{{_ALL}}}[1h]))", "{{state}}"
            ),
            span=8,
        ),
        lines(
            "Longest silence",
            "For how long the session in the midst of a turn that has been silent for longest "
            "has been so. Long tool calls are silent, too.",
            Ask(f"max(lucid_longest_silence_seconds{{{_ALL}}})", "longest"),
            unit="s",
            thresholds=steps(1500),
            span=24,
        ),
    ):
        made.with_panel(panel)
    return made
