"""`docs/metrics.md` says what the code serves."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.metrics_page import described, label_values, metrics_page
from supervisor.runtime.second_opinion import Given

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text(encoding="utf-8")


def test_the_page_is_up_to_date() -> None:
    assert metrics_page(described()) == PAGE, "run: make docs"


def test_it_asks_only_for_metrics_that_exist() -> None:
    names = {one.name for one in described()}
    series = {f"{name}{suffix}" for name in names for suffix in ("", "_bucket", "_gcount")}
    assert set(re.findall(r"\blucid_\w+", PAGE)) <= series


@pytest.mark.parametrize("label", sorted({name for one in described() for name in one.labels}))
def test_every_label_is_explained(label: str) -> None:
    assert re.search(rf"^\| [^|]*`{label}`[^|]* \| [^|]+ \|$", PAGE, re.MULTILINE)


def test_what_comes_of_a_second_opinion_is_listed() -> None:
    (values,) = (values for label, values, _ in label_values() if label == "answer")
    assert set(values) == set(Given)
