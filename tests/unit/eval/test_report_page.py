"""The page stands alone, holds the evidence, and takes nothing a trace says for markup."""

from __future__ import annotations

import re
from html.parser import HTMLParser

from supervisor.eval.page.report import render
from supervisor.eval.score import Report


class Seen(HTMLParser):
    """What a browser would see."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.targets: list[str] = []
        self.ids: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            assert not name.startswith("on"), (tag, name)
            if name in {"href", "src", "xlink:href"}:
                self.targets.append(value or "")
            if name == "id":
                self.ids.append(value or "")

    def handle_data(self, data: str) -> None:
        self.text += data


def seen(report: Report) -> Seen:
    page = Seen()
    page.feed(render(report, "default"))
    return page


def test_it_loads_nothing_and_runs_nothing(report: Report) -> None:
    page = seen(report)
    assert not {"script", "img", "iframe", "object", "link", "form"} & set(page.tags)
    assert all(target.startswith("#") for target in page.targets)
    html = render(report, "default")
    assert "default-src 'none'" in html
    assert not re.search(r"url\(|@import|https?://", html)


def test_what_a_trace_says_is_text(report: Report) -> None:
    html = render(report, "<b>mine</b>")
    assert "<script>" not in html
    assert "<b>mine" not in html
    assert "loop 0.95 <script>alert(1)</script>" in seen(report).text


def test_every_link_leads_somewhere(report: Report) -> None:
    page = seen(report)
    assert len(page.ids) == len(set(page.ids))
    assert {target[1:] for target in page.targets} <= set(page.ids)


def test_it_shows_plots_misses_and_false_interventions(report: Report) -> None:
    page = seen(report)
    # Precision over recall for loop and drift, the delay of loops, one reliability plot a
    # mode of which something is known.
    assert page.tags.count("svg") == 5
    for words in (
        "Misses in labelled.jsonl: 1",
        "make & make",
        "Misses in cases.json: 1",
        "False interventions: loop in labelled.jsonl: 1",
        "False interventions: healthy sessions: 1",
        "solved, though flagged: marker 0.85 at 2 since 1",
        "Loop cases: 2 of 3 loops caught",
    ):
        assert words in page.text


def test_the_same_runs_give_the_same_page(report: Report) -> None:
    assert render(report, "default") == render(Report(report.runs, report.modes), "default")


def test_nothing_to_report_is_a_page_too() -> None:
    page = Seen()
    page.feed(render(Report([], frozenset()), "default"))
    assert "0 traces" in page.text
