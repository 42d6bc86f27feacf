"""`docs/detection.md` says what the code does, and its figures are the tool's own."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from supervisor.cli.evaluate import evaluate
from supervisor.core.verdict import FailureMode
from supervisor.eval.corpora import traces
from supervisor.eval.figures import figures
from supervisor.eval.markdown import BEGIN, END, figures_in
from supervisor.eval.score import Report
from supervisor.eval.truth import CLASSES

PAGE = (Path(__file__).parents[3] / "docs" / "detection.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"^```json\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_the_json_has_the_shape_that_is_shown(report: Report) -> None:
    shown, found = json.loads(EXAMPLES[0]), json.loads(json.dumps(figures(report)))
    assert list(shown) == list(found)
    assert list(shown["loop_cases"]) == list(found["loop_cases"])
    assert list(shown["modes"]["loop"]) == list(found["modes"]["loop"])
    assert list(shown["healthy"]) == list(found["healthy"])


def test_the_trace_that_is_shown_is_read(tmp_path: Path) -> None:
    (tmp_path / "own.jsonl").write_text(json.dumps(json.loads(EXAMPLES[1])))
    (trace,) = traces(tmp_path)
    assert (trace.id, trace.group, trace.outcome, trace.healthy) == (
        "run 1",
        "task 1",
        "failure",
        False,
    )
    assert len(list(trace.entries())) == 4  # the tools are told first


def test_every_option_and_class_is_explained() -> None:
    for option in (
        "--mode",
        "--show",
        "--json",
        "--html",
        "--markdown",
        "--at",
        "--held-out",
        "--judge",
    ):
        assert option in PAGE
        assert any(option in parameter.opts for parameter in evaluate.params)
    own = set(CLASSES) - set(FailureMode)
    assert all(f"`{name}`" in PAGE for name in own)


def test_the_figures_are_those_of_today(evaluated: tuple[Report, float]) -> None:
    shown = PAGE.partition(BEGIN)[2].partition(END)[0].strip()
    if not shown:
        pytest.skip("no figures yet: lucid eval ../shared/corpora --markdown docs/detection.md")
    assert shown == figures_in(evaluated[0])
