"""The misses and the false interventions, one line each, for those who tune detectors."""

from __future__ import annotations

from collections.abc import Iterator

from supervisor.core.text import one_line
from supervisor.eval.calibration import by_kind, strata
from supervisor.eval.score import ClassFigures, Report
from supervisor.eval.stream import Finding, Run

__all__ = ["confidences", "false_alarms", "misses"]

_NOTE = 160
_SUMMARY = 200


def misses(report: Report) -> Iterator[str]:
    """By data set and class: the trace, where it was labelled, and the finding that came
    nearest to an intervention."""
    for name, one in report.datasets.items():
        for figures in one.classes.values():
            for run in figures.misses():
                yield f"{name} {figures.failure}: {_missed(run, figures)}"


def _missed(run: Run, figures: ClassFigures) -> str:
    labels = [label for label in run.trace.labels if label.failure == figures.failure]
    steps = ",".join(str(label.step) for label in labels if label.step is not None) or "-"
    near = max(
        figures.findings(run),
        key=lambda one: one.confidence,
        default=None,
    )
    best = f"; best {_found(near)}" if near is not None else ""
    note = one_line(labels[0].note, _NOTE)
    return f"{run.trace.id} step {steps} of {run.entries} entries: {note}{best}"


def false_alarms(report: Report) -> Iterator[str]:
    """By data set: interventions where a class is labelled free, and in healthy sessions."""
    for name, one in report.datasets.items():
        for figures in one.classes.values():
            for run, finding in figures.false():
                yield f"{name} {figures.failure}: {run.trace.id}: {_found(finding)}"
        for run, finding in one.false():
            yield f"{name} healthy: {run.trace.id}: {_found(finding)}"


def confidences(report: Report) -> Iterator[str]:
    """By detector, pattern and stated confidence: how many findings were right."""
    for one in strata(report, by_kind):
        low, high = one.interval
        yield (
            f"{one.kind}: {one.right} of {one.findings} right ({low:.2f} to {high:.2f}); "
            f"suggested {one.suggested:.2f}"
        )


def _found(finding: Finding) -> str:
    verdict = finding.acting or finding.best
    return (
        f"{verdict.detector} {verdict.confidence:.2f} at seq {verdict.seq} since "
        f"{verdict.onset_seq}: {one_line(verdict.summary, _SUMMARY)}"
    )
