"""Session: one process of Lucid, which in a pod of its own is one session."""

from __future__ import annotations

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.models import dashboard as model

from dashboards.source.panels import Ask, board, figure, lines, selected, stack, steps

__all__ = ["session"]

_ALL = selected()
_FAILURE = selected('failure_mode!="stop"')
_ABOUT = """\
One process of Lucid. Beside an agent in a pod, and under `lucid run`, that is one session; a \
sidecar for many agents shows their sum here. Metrics name no session: which one it is, its \
entries and its decisions are in the sidecar's API (/api/v1/sessions) and in `lucid show`."""


def session() -> Dashboard:
    """The dashboard."""
    made = board("session", "Lucid / Session", _ABOUT, one_instance=True)
    made.annotation(
        dashboard.AnnotationQuery()
        .name("Interventions")
        .datasource(model.DataSourceRef(type_val="prometheus", uid="${datasource}"))
        .enable(True)
        .icon_color("orange")
        .expr(
            f"sum by (action, failure_mode) (increase(lucid_interventions_total{{{_ALL}}}[2m])) > 0"
        )
    )
    for panel in (
        figure(
            "Sessions",
            "Sessions that this process supervises. At 1, all that is below is of one session.",
            Ask(f"sum(lucid_sessions{{{_ALL}}})"),
        ),
        figure(
            "Silent for",
            "Since the last sign of life in the midst of a turn; 0 between turns.",
            Ask(f"max(lucid_longest_silence_seconds{{{_ALL}}})"),
            unit="s",
            thresholds=steps(300, 1500),
        ),
        figure(
            "Context in use",
            "Of the main agent's context window.",
            Ask(f"max(lucid_context_occupancy_max_ratio{{{_ALL}}})"),
            unit="percentunit",
            thresholds=steps(0.8, 0.9),
        ),
        figure(
            "Failures shown now",
            "Failures that no action has cleared yet.",
            Ask(f"sum(lucid_failing_sessions{{{_FAILURE}}})"),
            thresholds=steps(1),
        ),
        figure(
            "Interventions",
            "In the time that is shown.",
            Ask(f"sum(increase(lucid_interventions_total{{{_FAILURE}}}[$__range]))"),
        ),
        figure(
            "Tokens",
            "Read and written in the time that is shown.",
            Ask(f"sum(increase(lucid_tokens_total{{{_ALL}}}[$__range]))"),
        ),
        stack(
            "What the agent does",
            "Entries of the transcript in a minute, by kind.",
            Ask(
                f"sum by (kind) (rate(lucid_entries_total{{{_ALL}}}[$__rate_interval])) * 60",
                "{{kind}}",
            ),
        ),
        lines(
            "Context in use",
            "It falls where the context is compacted. From 90 % on, nothing compacts it.",
            Ask(f"max(lucid_context_occupancy_max_ratio{{{_ALL}}})", "main agent"),
            unit="percentunit",
            thresholds=steps(0.9),
        ),
        lines(
            "Failures",
            "For how long each failure has been shown.",
            Ask(
                f"max by (failure_mode) (lucid_longest_failure_seconds{{{_FAILURE}}}) > 0",
                "{{failure_mode}}",
            ),
            unit="s",
            thresholds=steps(300),
        ),
        stack(
            "What was found, and by which detector",
            "Verdicts in five minutes.",
            Ask(
                "sum by (failure_mode, detector) "
                f"(increase(lucid_verdicts_total{{{_FAILURE}}}[5m])) > 0",
                "{{failure_mode}} by {{detector}}",
            ),
        ),
        stack(
            "What was decided",
            "Decisions in five minutes: the action, or why there was none.",
            Ask(
                f"sum by (choice, action) (increase(lucid_decisions_total{{{_FAILURE}}}[5m])) > 0",
                "{{choice}} {{action}}",
            ),
        ),
        stack(
            "What came of it",
            "Outcomes in five minutes.",
            Ask(
                f"sum by (action, status) (increase(lucid_outcomes_total{{{_FAILURE}}}[5m])) > 0",
                "{{action}}: {{status}}",
            ),
        ),
    ):
        made.with_panel(panel)
    return made
