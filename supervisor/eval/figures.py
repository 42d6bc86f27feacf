"""The report as plain values, for machines."""

from __future__ import annotations

from collections.abc import Mapping

from supervisor.eval.score import Report

__all__ = ["figures"]

Figure = int | float | None | Mapping[str, "Figure"]


def figures(report: Report) -> dict[str, Figure]:
    """`{"loop_cases", "modes", "healthy", "datasets"}`; a figure that the data cannot tell,
    such as the precision where nothing is labelled free, is None."""
    return {
        **_own(report),
        "datasets": {name: _own(one) for name, one in report.datasets.items()},
    }


def _own(report: Report) -> dict[str, Figure]:
    cases, healthy = report.loop_cases, report.healthy()
    return {
        "loop_cases": {
            "loops": cases.loops,
            "caught": cases.caught,
            "healthy": cases.healthy,
            "false": cases.false,
        },
        "modes": {
            failure: {
                "precision": found.confusion.precision,
                "recall": found.confusion.recall,
                "f1": found.confusion.f1,
                "mcc": found.confusion.mcc,
                "traces": found.confusion.traces,
            }
            for failure, found in report.classes.items()
        },
        "healthy": {"sessions": healthy.sessions, "flagged": healthy.flagged},
    }
