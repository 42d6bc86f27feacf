"""Training the risk: the same numbers each time, nothing learned from which set a run is of."""

from __future__ import annotations

import random
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from supervisor.cli.train import train
from supervisor.core.verdict import FailureMode
from supervisor.errors import TranscriptError
from supervisor.eval.markdown import END
from supervisor.eval.training import (
    Found,
    Observed,
    fitted,
    held_out,
    require_enough,
    scored,
    sharpening,
    usable,
)
from supervisor.eval.training_report import MARK
from supervisor.runtime.risk import FEATURES, SHIPPED, RiskModel

PAGE = Path(__file__).parents[3] / "docs" / "risk.md"


def run(number: int, failed: bool | None, stratum: str = "a", **values: float) -> Observed:
    seen = tuple(values.get(name, 0.0) for name in FEATURES)
    return Observed(stratum, f"{stratum} {number}", failed, failed is False, seen, seen, ())


def worded(chance: random.Random, stratum: str, talk: float) -> list[Observed]:
    """Runs whose failures write more than their set's others."""
    return [
        run(n, n % 2 == 0, stratum, written=talk + (n % 2 == 0) + chance.random(), errors=0.1)
        for n in range(40)
    ]


@pytest.fixture
def runs() -> list[Observed]:
    chance = random.Random(1)
    return worded(chance, "terse", 4) + worded(chance, "wordy", 9)


def test_the_same_runs_give_the_same_numbers_in_any_order(runs: list[Observed]) -> None:
    model = fitted(runs)
    assert model == fitted(runs)
    assert set(model.weights) == {"written"}
    shuffled = random.Random(2).sample(runs, len(runs))
    assert fitted(shuffled).weights.keys() == model.weights.keys()


def test_a_sign_of_success_is_left_out() -> None:
    runs = [run(n, n % 2 == 0, written=5.0 - (n % 2 == 0) + n % 3) for n in range(40)]
    model = fitted(runs)
    assert not model.weights
    assert model.risk((9.0, 0, 0, 0)) == pytest.approx(0.5, abs=0.01)


def test_sets_with_one_outcome_teach_nothing(runs: list[Observed]) -> None:
    doomed = [run(n, True, "doomed", written=12.0) for n in range(40)]
    assert usable(runs + doomed) == runs
    assert fitted(runs + doomed) == fitted(runs)


def test_a_run_is_scored_by_a_model_that_did_not_see_its_task(runs: list[Observed]) -> None:
    scores = scored(held_out(runs))
    assert len(scores) == len(runs)
    assert len({one.part for one in scores}) == 5
    failed = [one.risk for one in scores if one.run.failed]
    others = [one.risk for one in scores if not one.run.failed]
    assert sum(failed) / len(failed) > sum(others) / len(others)


def test_sharpening_is_kept_only_where_the_risk_tells_right_findings() -> None:
    terse = worded(random.Random(1), "terse", 4)

    def found(one: Observed, right: bool) -> Observed:
        return one._replace(found=(Found(FailureMode.DRIFT, 0.5, right, one.end),))

    (helps,) = sharpening(held_out([found(one, bool(one.failed)) for one in terse]))
    (harms,) = sharpening(held_out([found(one, not one.failed) for one in terse]))
    assert helps.share > 0
    assert helps.sharpened < helps.brier
    assert harms.share == 0


def test_too_few_tasks_are_refused_with_what_to_do() -> None:
    with pytest.raises(TranscriptError, match="5 of each are needed"):
        require_enough([run(n, n % 2 == 0) for n in range(4)])


def traces(folder: Path) -> Path:
    """Tiny runs: the failed ones write more, and get errors."""
    lines = []
    for n in range(24):
        failed = n % 2 == 0
        words = "I try again. " * (1 + n % 5 + 4 * failed)
        steps = [
            {"role": "user", "text": "Fix it."},
            {"role": "assistant", "text": words, "tool": "bash", "input": {"command": f"t {n}"}},
            {"role": "tool", "text": f"result {n}", "tool": "bash", "is_error": failed},
        ]
        label = {"class": "failure" if failed else "success", "step": None}
        lines.append({"id": f"tiny/{n}", "group": f"task {n}", "steps": steps, "labels": [label]})
    file = folder / "tiny.jsonl"
    file.write_bytes(b"\n".join(map(msgspec.json.encode, lines)))
    return file


def test_the_command_writes_a_model_and_its_figures_twice_the_same(tmp_path: Path) -> None:
    file, page = traces(tmp_path), tmp_path / "risk.md"
    page.write_text(f"# Risk\n{MARK}\n{END}\n")
    made = []
    for name in ("one.json", "two.json"):
        options = [str(file), "--out", str(tmp_path / name), "--markdown", str(page)]
        told = CliRunner().invoke(train, options)
        assert told.exit_code == 0, told.output
        made.append(((tmp_path / name).read_bytes(), page.read_text()))
    assert made[0] == made[1]
    model = msgspec.json.decode(made[0][0], type=RiskModel)
    assert {"written", "errors"} <= set(model.weights)
    assert "| tiny | 24 | 12 |" in made[0][1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "is empty"),
        ('{"id": "x", "steps": [{"role": "user", "text": "Hi."}]}', "too little to learn from"),
        (None, "does not exist"),
    ],
)
def test_odd_corpora_are_told_in_a_sentence(tmp_path: Path, content: str | None, said: str) -> None:
    file = tmp_path / "odd.jsonl"
    if content is not None:
        file.write_text(content)
    told = CliRunner().invoke(train, [str(file)])
    assert told.exit_code != 0
    assert said in told.output
    assert "Traceback" not in told.output


def test_the_page_shows_the_shipped_model_and_explains_every_feature() -> None:
    page = PAGE.read_text(encoding="utf-8")
    shipped = msgspec.json.decode(SHIPPED.read_bytes(), type=RiskModel)
    for name, one in shipped.weights.items():
        assert f"| {name} | {one.weight:.4f} |" in page
    assert f"{shipped.intercept:.4f}" in page
    assert all(f"| `{name}` |" in page for name in FEATURES)
    options = {option for parameter in train.params for option in parameter.opts if "--" in option}
    assert all(option in page for option in options)
