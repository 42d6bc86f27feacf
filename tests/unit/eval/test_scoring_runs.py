"""Figures over corpora whose every trace says what is found in it."""

from __future__ import annotations

import pytest

from supervisor.core.verdict import FailureMode
from supervisor.eval.calibration import strata
from supervisor.eval.figures import figures
from supervisor.eval.listing import confidences, false_alarms, misses
from supervisor.eval.score import CaseFigures, Report, truth
from supervisor.eval.stats import Confusion
from supervisor.eval.stream import Run
from supervisor.eval.trace import Outcome


def run_of(report: Report, name: str) -> Run:
    return next(run for run in report.runs if run.trace.id == name)


def test_a_finding_acts_where_the_policy_has_a_rule_for_it(report: Report) -> None:
    assert [finding.acting is not None for finding in run_of(report, "looping").findings] == [True]
    assert [finding.acting is not None for finding in run_of(report, "missed").findings] == [False]


def test_caught_and_false_are_counted_at_trace_level(report: Report) -> None:
    assert report.classes["loop"].confusion == Confusion(tp=1, fp=1, fn=1, tn=1)
    assert report.classes["drift"].confusion == Confusion(fn=1, tn=3)


def test_sets_that_only_label_where_it_is_have_recall_alone(report: Report) -> None:
    counted = report.datasets["positives.jsonl"].classes["loop"].confusion
    assert (counted.recall, counted.precision, counted.f1, counted.mcc) == (1.0, None, None, None)
    assert report.classes["loop"].confusion.traces == 4  # not pooled with those that know more


def test_loop_cases_are_counted_apart(report: Report) -> None:
    assert report.loop_cases == CaseFigures(loops=3, caught=2, healthy=2, false=1, in_time=1)


def test_healthy_sessions_are_flagged_by_any_intervention(report: Report) -> None:
    healthy = report.healthy()
    assert (healthy.sessions, healthy.flagged, healthy.interventions) == (4, 1, 1)
    assert healthy.interval.low < 0.25 < healthy.interval.high
    assert report.healthy(FailureMode.DRIFT).flagged == 0


def test_runs_are_counted_by_outcome(report: Report) -> None:
    assert report.flagged(Outcome.FAILURE) == (1, 1)
    assert report.flagged(Outcome.SUCCESS) == (1, 3)


def test_places_compare_findings_with_labelled_steps(report: Report) -> None:
    places = report.classes["loop"].places
    # Found at step 5 with its onset at 3, both of which are labelled; the false alarm points
    # where no label is, and the miss's label at nothing.
    assert (places.labels, places.exact, places.near) == (2, 1, 1)
    assert (places.findings, places.findings_exact, places.findings_near) == (2, 1, 1)
    assert places.f1 == (0.5, 0.5)
    assert report.near_errors() == (2, 2)


def test_delay_counts_from_the_first_needless_step(report: Report) -> None:
    assert report.classes["loop"].delays == [2]
    assert report.everywhere["loop"].delays == [2, 0]


def test_the_curve_follows_the_threshold_down(report: Report) -> None:
    curve = report.classes["loop"].curve
    assert [threshold for threshold, _, _ in curve] == [0.95, 0.9, 0.5]
    assert [(recall, round(precision, 2)) for _, recall, precision in curve] == [
        (0.0, 0.0),
        (0.5, 0.5),
        (1.0, 0.67),
    ]


def test_machines_get_exactly_these_figures(report: Report) -> None:
    found = figures(report)
    assert list(found) == ["loop_cases", "modes", "healthy", "datasets"]
    assert found["loop_cases"] == {"loops": 3, "caught": 2, "healthy": 2, "false": 1}
    assert found["healthy"] == {"sessions": 4, "flagged": 1}
    modes = found["modes"]
    assert isinstance(modes, dict)
    assert modes["loop"] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "mcc": 0.0, "traces": 4}
    sets = found["datasets"]
    assert isinstance(sets, dict)
    assert set(sets) == {
        "cases.json",
        "labelled.jsonl",
        "outcomes.jsonl",
        "positives.jsonl",
        "sessions",
    }
    assert all(list(one) == ["loop_cases", "modes", "healthy"] for one in sets.values())


def test_only_the_asked_modes_are_reported(runs: list[Run]) -> None:
    report = Report(runs, frozenset({FailureMode.DRIFT}))
    assert list(report.classes) == ["drift"]
    assert report.healthy().flagged == 0


def test_right_is_known_only_where_somebody_looked(report: Report) -> None:
    known = {run.trace.id: truth(run, FailureMode.LOOP) for run in report.runs}
    assert known["looping"] is True
    assert known["false alarm"] is known["solved"] is False
    assert known["only positive"] is known["failed"] is known["a matter of thresholds"] is None


def test_confidences_are_compared_with_the_share_that_is_right(report: Report) -> None:
    assert sorted(report.said(FailureMode.LOOP)) == [
        (0.5, True),
        (0.8, True),
        (0.8, True),
        (0.85, False),
        (0.9, True),
        (0.95, False),
        (1.0, False),
    ]
    sure, unsure = strata(
        report, lambda verdict: "low" if verdict.confidence < 0.9 else "high", FailureMode.LOOP
    )
    assert (sure.kind, sure.findings, sure.right) == ("high", 3, 1)
    assert (unsure.findings, unsure.right, unsure.suggested) == (4, 3, pytest.approx(2 / 3))


def test_misses_and_false_alarms_are_listed_one_a_line(report: Report) -> None:
    missed = list(misses(report))
    assert [line.split(":")[0] for line in missed] == [
        "cases.json loop",
        "labelled.jsonl loop",
        "labelled.jsonl drift",
    ]
    assert missed[1].endswith("make & make; best marker 0.50 at seq 2 since 1: It says loop 0.5")
    assert [line.split(": ")[1] for line in false_alarms(report)] == [
        "false alarm",
        "false alarm",
        "solved, though flagged",
    ]
    assert "loop marker said at 0.80: 2 of 2 right (0.34 to 1.00); suggested 0.75" in list(
        confidences(report)
    )


def test_detectors_are_told_of_silence_between_timed_entries(report: Report) -> None:
    main = run_of(report, "sessions/main.jsonl")
    stall = next(finding for finding in main.findings if finding.mode is FailureMode.STALL)
    assert stall.first.summary == "silent at 00:01"
    assert stall.verdicts == 6  # after 1, 2, 5, 10, 15 and 20 of the 30 minutes
    assert run_of(report, "solved").findings == []  # it has no times


def test_evidence_and_labelled_steps_are_quoted(report: Report) -> None:
    quoted = run_of(report, "looping").excerpts
    assert sorted(quoted) == [2, 4, 6]
    assert [(one.kind, one.text) for one in quoted[6]] == [
        ("text", "loop 0.9"),
        ("tool call", 'search {"query": "port"}'),
    ]
