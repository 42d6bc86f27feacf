"""The statistics against values that others publish or compute."""

from __future__ import annotations

import random

import pytest
from sklearn.metrics import f1_score, matthews_corrcoef

from supervisor.eval.stats import (
    Confusion,
    bootstrap,
    calibration_error,
    folds,
    reliability,
    wilson,
)


def test_correlation_and_f1_are_as_scikit_learn_has_them() -> None:
    chance = random.Random(1)
    pairs = [(chance.random() < 0.4, chance.random() < 0.3) for _ in range(60)]
    counted = Confusion()
    for said, true in pairs:
        counted = counted.add(said=said, true=true)
    said, true = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    assert counted.mcc == pytest.approx(matthews_corrcoef(true, said))
    assert counted.f1 == pytest.approx(f1_score(true, said))


@pytest.mark.parametrize(
    ("counted", "mcc"),
    [
        (Confusion(tp=3, tn=5), 1.0),
        (Confusion(fp=3, fn=5), -1.0),
        (Confusion(fn=3, tn=5), 0.0),
        (Confusion(tp=3, fn=5), None),
        (Confusion(fp=3, tn=5), None),
        (Confusion(), None),
    ],
)
def test_correlation_of_one_sided_answers(counted: Confusion, mcc: float | None) -> None:
    assert counted.mcc == mcc


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 10, 0.0, 0.2775), (1, 10, 0.0179, 0.4042), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1)],
)
def test_wilson_intervals_are_those_of_the_tables(
    hits: int, trials: int, low: float, high: float
) -> None:
    assert wilson(hits, trials) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_bootstrap_is_seeded_and_draws_whole_groups() -> None:
    items = [(group, group % 2) for group in range(20) for _ in range(3)]

    def share(drawn: object) -> float:
        assert isinstance(drawn, list)
        assert len(drawn) == len(items)
        return sum(value for _, value in drawn) / len(drawn)

    found = bootstrap(items, lambda item: item[0], share)
    assert found == bootstrap(items, lambda item: item[0], share)
    assert found is not None
    assert 0.2 < found.low < 0.5 < found.high < 0.8


def test_a_bootstrap_of_a_figure_that_is_not_there_has_no_interval() -> None:
    assert bootstrap([1, 2], lambda item: item, lambda drawn: None) is None
    assert bootstrap([], lambda item: 0, lambda drawn: 1.0) is None


def test_folds_keep_groups_together_and_cover_everything() -> None:
    items = [f"{group}-{number}" for group in "abcdefg" for number in range(3)]
    parts = folds(items, lambda item: item[0], 3)
    assert sorted(item for part in parts for item in part) == items
    groups = [{item[0] for item in part} for part in parts]
    assert sum(map(len, groups)) == 7
    again = folds(items[::-1], lambda item: item[0], 3)
    assert [sorted(part) for part in again] == [sorted(part) for part in parts]


def test_reliability_bins_hold_every_confidence_once() -> None:
    said = [(value / 20, value % 3 == 0) for value in range(21)]
    bins = reliability(said, [0, 0.5, 0.8, 1])
    assert [one.findings for one in bins] == [10, 6, 5]
    assert calibration_error([]) is None
    assert calibration_error(reliability([(1.0, True), (0.0, False)], [0, 0.5, 1])) == 0.0
