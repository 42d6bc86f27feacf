"""What stands on the page: figures, plots, and the worst misses and false interventions
with the entries that they rest on."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element

from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode
from supervisor.eval.page.evidence import false_interventions, misses
from supervisor.eval.page.markup import Child, append, document, link, node, table
from supervisor.eval.page.plots import histogram, precision_recall, reliability_plot
from supervisor.eval.page.style import STYLE
from supervisor.eval.score import ClassFigures, Report
from supervisor.eval.stats import Bin, calibration_error, reliability, wilson
from supervisor.eval.tables import EDGES

__all__ = ["render"]


def render(report: Report, threshold: str) -> str:
    """The page's HTML; `threshold` says when the policy intervenes, as in `the policy
    default`. Deterministic: the same runs give the same page."""
    body: list[Child] = [
        node("h1", "How good Lucid's detectors are"),
        node("p", *_summary(report, threshold)),
        node("nav", *(child for name in _sections(report) for child in (link(name, name), " "))),
        _overview(report),
        _quiet(report),
        *(_class(failure, report) for failure in report.classes),
        _calibration(report),
        _false_in_healthy(report),
    ]
    return document("Lucid: evaluation", STYLE, *body)


def _sections(report: Report) -> list[str]:
    return ["overview", "healthy", *report.classes, "calibration", "interventions"]


def _summary(report: Report, threshold: str) -> list[Child]:
    entries = sum(run.entries for run in report.runs)
    return [
        f"{len(report.runs):,} traces of {len(report.datasets)} data sets, {entries:,} entries, "
        "streamed through the detectors as if they were live. A failure is caught, and a healthy "
        "session flagged, where there would be an intervention under ",
        node("b", one_line(threshold, 80)),
        ".",
    ]


def _section(name: str, title: str, *children: Child) -> Element:
    return node("section", node("h2", title), *children, id=name)


def _overview(report: Report) -> Element:
    headings = ("class", "data set", "traces", "with it", "precision", "recall", "F1", "MCC")
    rows: list[Sequence[Child]] = []
    for failure, found in report.classes.items():
        rows.append([link(failure, failure), "pooled", *_counts(found)])
        rows += [
            ["", one_line(name, 60), *_counts(one.classes[failure])]
            for name, one in report.datasets.items()
            if failure in one.classes
        ]
    cases = report.loop_cases
    told = node(
        "p",
        f"Loop cases: {cases.caught} of {cases.loops} loops caught ({cases.in_time} no later than "
        f"the system they were taken from), {cases.false} of {cases.healthy} healthy ones flagged.",
    )
    return _section("overview", "Overview", table(headings, rows, left=2), told)


def _counts(found: ClassFigures) -> list[str]:
    counted = found.confusion
    shares = (counted.precision, counted.recall, counted.f1, counted.mcc)
    return [str(counted.traces), str(counted.tp + counted.fn), *map(_number, shares)]


def _quiet(report: Report) -> Element:
    headings = ("data set", "healthy sessions", "flagged", "of 100", "95 % (Wilson)")
    names = [("all", report), *((name, one) for name, one in report.datasets.items())]
    rows = []
    for name, one in names:
        found = one.healthy()
        if found.sessions:
            low, high = found.interval
            share, interval = (
                100 * found.flagged / found.sessions,
                f"{100 * low:.1f} to {100 * high:.1f}",
            )
            rows.append(
                [
                    one_line(name, 60),
                    str(found.sessions),
                    str(found.flagged),
                    f"{share:.1f}",
                    interval,
                ]
            )
    by_mode = [
        [str(mode), str(found.sessions), str(found.flagged), str(found.interventions)]
        for mode in sorted(report.modes)
        if (found := report.healthy(mode)).interventions
    ]
    modes = table(("mode", "healthy sessions", "flagged", "interventions"), by_mode)
    return _section("healthy", "Where nothing was wrong", table(headings, rows), modes)


def _class(failure: str, report: Report) -> Element:
    found, all_labels = report.classes[failure], report.everywhere[failure]
    counted, (exact, near) = found.confusion, found.places.f1
    answered = ", ".join(sorted(found.modes))
    about = node(
        "p",
        f"Answered by {answered}. Places (F1 of findings against labelled steps): "
        f"exact {exact:.2f}, within 3 steps {near:.2f}.",
    )
    plots: list[Child] = []
    if found.exhaustive and counted.tp + counted.fn:
        prevalence = (counted.tp + counted.fn) / counted.traces
        chosen = (counted.recall, counted.precision)
        curve = precision_recall(found.curve, prevalence, chosen)
        plots.append(_figure(curve, "Precision and recall by threshold; the ring is the policy's."))
    if all_labels.delays:
        plots.append(_figure(histogram(all_labels.delays), "Delay of the first intervention."))
    section = _section(failure, failure, about, node("div", *plots, class_="plots"))
    for name, one in report.datasets.items():
        if failure in one.classes:
            append(section, *misses(one.classes[failure], name))
            false = one.classes[failure].false()
            append(section, *false_interventions(f"{failure} in {name}", false))
    return section


def _figure(plot: Element, caption: str) -> Element:
    return node("figure", plot, node("figcaption", caption))


def _calibration(report: Report) -> Element:
    rows: list[Sequence[Child]] = []
    plots: list[Child] = []
    for mode in sorted(report.modes):
        bins = reliability(report.said(mode), EDGES)
        if bins:
            error = calibration_error(bins)
            plots.append(
                _figure(reliability_plot(bins), f"{mode}: calibration error {_number(error)}")
            )
            rows += [_bin(mode, one) for one in bins]
    note = node(
        "p",
        "Each trace with a finding counts once for each mode, with the highest confidence, where "
        "it is known whether the finding is right: the trace is labelled with the failure, "
        "labelled free of it, or healthy.",
    )
    headings = ("mode", "confidence", "mean", "findings", "right", "share", "95 % (Wilson)")
    return _section(
        "calibration",
        "Do confidences mean what they say?",
        note,
        node("div", *plots, class_="plots"),
        table(headings, rows, left=2),
    )


def _bin(mode: FailureMode, one: Bin) -> list[str]:
    low, high = wilson(one.right, one.findings)
    return [
        str(mode),
        f"{one.low:g} to {one.high:g}",
        f"{one.mean:.2f}",
        str(one.findings),
        str(one.right),
        f"{one.share:.2f}",
        f"{low:.2f} to {high:.2f}",
    ]


def _false_in_healthy(report: Report) -> Element:
    section = _section("interventions", "Interventions in healthy sessions")
    append(section, *false_interventions("healthy sessions", report.false()))
    return section


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
