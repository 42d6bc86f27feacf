"""Recovery effectiveness: whether what is done about failures helps."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from dashboards.source.panels import Ask, bars, board, figure, lines, selected, stack, steps

__all__ = ["recovery"]

_ALL = selected()
_FAILURE = selected('failure_mode!="stop"')


def _increase(metric: str, by: str, more: str = "") -> str:
    labels = ", ".join(filter(None, [_FAILURE, more]))
    return f"sum by ({by}) (increase({metric}{{{labels}}}[$__range]))"


def _helped(by: str) -> str:
    cleared = _increase("lucid_outcomes_total", by, 'status="cleared"')
    relapsed = _increase("lucid_outcomes_total", by, 'status="relapsed"')
    judged = _increase("lucid_outcomes_total", by, 'status=~"cleared|failed"')
    return f"clamp_min({cleared} - {relapsed}, 0) / ({judged} > 0)"


def recovery() -> Dashboard:
    """The dashboard."""
    made = board(
        "recovery",
        "Lucid / Recovery effectiveness",
        "Whether what policies do about failures helps, how soon, and what it costs.",
    )
    for panel in (
        figure(
            "Interventions",
            "Actions decided on in the time that is shown.",
            Ask(_increase("lucid_interventions_total", "")),
        ),
        figure(
            "Helped",
            "Of those that could be judged, the share that cleared the failure, for good.",
            Ask(_helped("")),
            unit="percentunit",
            thresholds=steps(0.8, 0.5),
        ),
        figure(
            "Relapses",
            "Failures that had been cleared and came back.",
            Ask(_increase("lucid_outcomes_total", "", 'status="relapsed"')),
        ),
        figure(
            "Ladders at their end",
            "Decisions that had no action left to take.",
            Ask(_increase("lucid_decisions_total", "", 'choice="exhausted"')),
            thresholds=steps(1),
        ),
        figure(
            "Effect within",
            "Nine in ten actions reach the agent within this time after the decision.",
            Ask(
                "histogram_quantile(0.9, sum by (le) "
                f"(increase(lucid_intervention_delay_seconds_bucket{{{_ALL}}}[$__range])))"
            ),
            unit="s",
            thresholds=steps(30, 120),
        ),
        figure(
            "Tokens an intervention",
            "From the decision until it is known what came of it.",
            Ask(
                f"{_increase('lucid_action_tokens_total', '')} / "
                f"({_increase('lucid_interventions_total', '')} > 0)"
            ),
        ),
        bars(
            "Helped, by failure",
            "Share of judged actions that cleared the failure, for good.",
            Ask(_helped("failure_mode"), "{{failure_mode}}"),
            unit="percentunit",
            most=1,
            thresholds=steps(0.8, 0.5),
        ),
        bars(
            "Helped, by action",
            "Share of judged actions that cleared the failure, for good.",
            Ask(_helped("action"), "{{action}}"),
            unit="percentunit",
            most=1,
            thresholds=steps(0.8, 0.5),
        ),
        bars(
            "Taken, by action",
            "Actions decided on in the time that is shown.",
            Ask(_increase("lucid_interventions_total", "action"), "{{action}}"),
        ),
        stack(
            "Outcomes",
            "In an hour. Superseded: something else came before it could be judged.",
            Ask(
                f"sum by (status) (increase(lucid_outcomes_total{{{_FAILURE}}}[1h]))", "{{status}}"
            ),
        ),
        stack(
            "Decisions without an action",
            "In an hour: what stood against one.",
            Ask(
                "sum by (choice) (increase(lucid_decisions_total{"
                + selected('failure_mode!="stop"', 'choice!="act"')
                + "}[1h]))",
                "{{choice}}",
            ),
        ),
        lines(
            "Time to effect",
            "Nine in ten actions reach the agent within this time, by action.",
            Ask(
                "histogram_quantile(0.9, sum by (action, le) "
                f"(rate(lucid_intervention_delay_seconds_bucket{{{_ALL}}}[15m])))",
                "{{action}}",
            ),
            unit="s",
        ),
        stack(
            "Told, and asked",
            "Posts to the targets of an escalation, and a judge's second opinions, in an hour.",
            Ask(
                f"sum by (way, result) (increase(lucid_escalations_total{{{_ALL}}}[1h]))",
                "{{way}} {{result}}",
            ),
            Ask(
                f"sum by (answer) (increase(lucid_opinions_total{{{_ALL}}}[1h]))",
                "judge: {{answer}}",
            ),
        ),
    ):
        made.with_panel(panel)
    return made
