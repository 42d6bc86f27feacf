"""The figures as tables of plain cells, for a terminal and for a page of documentation."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode
from supervisor.eval.score import ClassFigures, Report
from supervisor.eval.stats import Bin, Interval, calibration_error, reliability, wilson
from supervisor.eval.trace import Outcome

__all__ = ["EDGES", "Table", "number", "tables"]

EDGES = (0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0)
"""Of the bins that confidences are counted in; the shipped policies act from 0.8 on."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """Cells under headings, and how to read them."""

    title: str
    caption: str
    headings: tuple[str, ...]
    words: int
    """How many columns hold words; those after them hold figures."""
    rows: list[tuple[str, ...]]


def tables(report: Report) -> Iterator[Table]:
    """By class, by data set, where nothing was wrong, and what confidences are worth."""
    every = (_classes, _sets, _runs, _quiet, _confidences)
    yield from (table for table in (make(report) for make in every) if table.rows)


def number(value: float | None) -> str:
    """With two decimals; a dash for what the data cannot tell."""
    return "-" if value is None else f"{value:.2f}"


def _classes(report: Report) -> Table:
    headings = ("class", "found by", "traces", "with it", "precision", "recall", "F1", "MCC")
    more = ("95 %", "place F1", "within 3", "delay")
    return Table(
        title="By labelled class, at trace level",
        caption="Over the data sets that were searched for it throughout. 95 %: of the MCC, by "
        "bootstrap over tasks. place F1: findings against labelled steps, exact and within 3 "
        "steps. delay: steps from the onset to the first intervention, median (p90).",
        headings=(*headings, *more),
        words=2,
        rows=[_class(report, failure, found) for failure, found in report.classes.items()],
    )


def _class(report: Report, failure: str, found: ClassFigures) -> tuple[str, ...]:
    known = found.confusion.mcc is not None
    return (
        failure,
        ", ".join(sorted(found.modes)),
        *_shares(found),
        _interval(found.mcc_interval) if known else "-",
        *(number(value) for value in found.places.f1),
        _delay(report.everywhere[failure].delays),
    )


def _shares(found: ClassFigures) -> tuple[str, ...]:
    counted = found.confusion
    shares = (counted.precision, counted.recall, counted.f1, counted.mcc)
    return (str(counted.traces), str(counted.tp + counted.fn), *map(number, shares))


def _interval(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.low:.2f} to {interval.high:.2f}"


def _delay(delays: list[int]) -> str:
    if not delays:
        return "-"
    ordered = sorted(delays)
    return f"{ordered[len(ordered) // 2]} ({ordered[int(0.9 * (len(ordered) - 1))]})"


def _sets(report: Report) -> Table:
    return Table(
        title="The same by data set",
        caption="A dash: the data cannot tell. Sets that label only where a failure is have "
        "recall alone.",
        headings=("data set", "class", "traces", "with it", "precision", "recall", "F1", "MCC"),
        words=2,
        rows=[
            (one_line(name, 40), failure, *_shares(found))
            for name, one in report.datasets.items()
            for failure, found in one.classes.items()
        ],
    )


def _runs(report: Report) -> Table:
    return Table(
        title="Runs",
        caption="flagged: the policy would intervene. near an error: within 3 steps of a "
        "labelled error of whatever class, of the flagged runs whose errors have a place.",
        headings=(
            "data set",
            "traces",
            "healthy",
            "flagged",
            "failed",
            "flagged",
            "near an error",
        ),
        words=1,
        rows=[_run(name, one) for name, one in report.datasets.items()],
    )


def _run(name: str, one: Report) -> tuple[str, ...]:
    healthy, (flagged, failed) = one.healthy(), one.flagged(Outcome.FAILURE)
    near, placed = one.near_errors()
    return (
        one_line(name, 40),
        str(len(one.runs)),
        *((str(healthy.sessions), str(healthy.flagged)) if healthy.sessions else ("", "")),
        *((str(failed), str(flagged)) if failed else ("", "")),
        f"{near} of {placed}" if placed else "",
    )


def _quiet(report: Report) -> Table:
    rows: list[tuple[str, ...]] = []
    total = report.healthy()
    if total.sessions:
        rows.append(_share("healthy sessions flagged", total.sessions, total.flagged))
        rows += [
            _share(f"by {mode}", found.sessions, found.flagged)
            for mode in sorted(report.modes)
            if (found := report.healthy(mode)).flagged
        ]
    cases = report.loop_cases
    if cases.loops + cases.healthy:
        rows.append(_share("loop cases: loops caught", cases.loops, cases.caught))
        rows.append(_share("no later than the original", cases.loops, cases.in_time))
        rows.append(_share("loop cases: healthy flagged", cases.healthy, cases.false))
    return Table(
        title="Where nothing was wrong, and loop cases",
        caption="95 %: Wilson's interval.",
        headings=("", "of", "number", "%", "95 %"),
        words=1,
        rows=rows,
    )


def _share(name: str, whole: int, part: int) -> tuple[str, ...]:
    low, high = wilson(part, whole)
    share = f"{100 * part / whole:.1f}" if whole else "-"
    return (name, str(whole), str(part), share, f"{100 * low:.1f} to {100 * high:.1f}")


def _confidences(report: Report) -> Table:
    rows: list[tuple[str, ...]] = []
    for mode in sorted(report.modes):
        bins = reliability(report.said(mode), EDGES)
        rows += [_bin(mode, one) for one in bins]
        if bins:
            total, right = sum(one.findings for one in bins), sum(one.right for one in bins)
            error = number(calibration_error(bins))
            rows.append((mode, "all", "", str(total), str(right), number(right / total), error))
    return Table(
        title="What confidences are worth",
        caption="Of each trace the highest confidence of a mode, where it is known whether the "
        "trace holds it. Last column: Wilson's interval of the share; of all, the expected "
        "calibration error.",
        headings=("mode", "confidence", "mean", "traces", "right", "share", "95 % / error"),
        words=2,
        rows=rows,
    )


def _bin(mode: FailureMode, one: Bin) -> tuple[str, ...]:
    low, high = wilson(one.right, one.findings)
    return (
        mode,
        f"{one.low:g} to {one.high:g}",
        number(one.mean),
        str(one.findings),
        str(one.right),
        number(one.share),
        f"{low:.2f} to {high:.2f}",
    )
