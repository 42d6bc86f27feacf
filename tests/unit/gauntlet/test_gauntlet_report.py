"""What the gauntlet prints, and when its bar is met."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from supervisor.cli.commands import lucid
from supervisor.gauntlet.report import figures, is_met, tables, told
from supervisor.gauntlet.suite import Outcome
from supervisor.gauntlet.trial import Trial
from supervisor.gauntlet.ways import Run, Way


def run(way: Way, finished: bool, ended: str = "completed", *actions: str, calls: int = 3) -> Run:
    return Run(
        way=way,
        finished=finished,
        ended=ended,
        attempts=1,
        calls=calls,
        repeated=1,
        tokens=2600,
        actions=actions,
    )


def outcome(kind: str, *actions: str, finished: bool = True, ended: str = "completed") -> Outcome:
    given = {
        "title": "One",
        "kind": kind,
        "mode": "loop",
        "about": "Ends.",
        "objective": "End.",
        "done": {"answer": "x"},
        "replies": [{"name": "ends", "text": "x"}],
    }
    return Outcome(
        f"{kind}-one",
        Trial.model_validate(given),
        run(Way.ALONE, False, "max_turns", calls=14),
        replace(run(Way.RETRY, True), attempts=2),
        run(Way.SUPERVISED, finished, ended, *actions),
    )


@pytest.mark.parametrize(
    ("outcomes", "met"),
    [
        ([outcome("recoverable", "nudge")], True),
        ([outcome("recoverable")] * 19 + [outcome("recoverable", finished=False)], True),
        ([outcome("recoverable")] * 18 + [outcome("recoverable", finished=False)], False),
        ([outcome("healthy")], True),
        ([outcome("healthy", "nudge")], False),
        ([outcome("healthy", finished=False)], False),
        ([outcome("unrecoverable", "abort", finished=False, ended="aborted")], True),
        ([outcome("unrecoverable", finished=False, ended="out of time")], False),
        ([], True),
    ],
)
def test_the_bar(outcomes: list[Outcome], met: bool) -> None:
    assert is_met(outcomes) is met


def test_a_scenario_is_told_in_a_line() -> None:
    assert told(outcome("recoverable", "nudge", "nudge", "rollback")) == (
        "recoverable-one: alone no: max_turns; retry yes, attempt 2; supervised yes "
        "(nudge x2, rollback)"
    )


def test_totals_come_first_and_then_every_scenario() -> None:
    totals, recoverable, healthy = tables([outcome("healthy"), outcome("recoverable", "nudge")])

    assert totals.rows[0] == ("recoverable", "alone", "1", "0", "14", "1", "3", "0", "0 %")
    assert [row[:2] for row in totals.rows[3:]] == [
        ("healthy", "alone"),
        ("healthy", "retry"),
        ("healthy", "supervised"),
    ]
    assert recoverable.rows == [
        (
            "recoverable-one: One",
            "loop",
            "default",
            "no: max_turns",
            "yes, attempt 2",
            "yes",
            "nudge",
            "14 / 3 / 3",
            "1 / 1 / 1",
            "3 / 3 / 3",
        )
    ]
    assert healthy.rows[0][6] == "-"


def test_machines_get_every_figure() -> None:
    told = figures([outcome("recoverable", "nudge")])

    assert told["met"] is True
    [scenario] = told["scenarios"]  # type: ignore[misc]  # a list, as JSON has it
    assert [one["calls"] for one in scenario["runs"]] == [14, 3, 3]
    assert told["totals"]["recoverable"]["supervised"]["interventions"] == 1  # type: ignore[index] # as above


def test_scenarios_are_listed_without_being_run() -> None:
    result = CliRunner().invoke(lucid, ["gauntlet", "--list", "--only", "healthy-po*"])

    assert result.exit_code == 0
    assert result.output.split() == [
        "healthy-polling",
        "healthy",
        *["Polls", "a", "job", "whose", "progress", "changes"],
    ]


def test_a_page_without_a_place_is_refused_before_anything_runs(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Page\n")

    result = CliRunner().invoke(lucid, ["gauntlet", "--markdown", str(page)])

    assert result.exit_code == 2
    assert "no place for figures" in result.output
