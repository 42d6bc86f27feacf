"""What a judge adds on labelled traces, asked over a real connection to a scripted model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from supervisor.core.entry import Prompt, Text
from supervisor.core.verdict import FailureMode
from supervisor.eval.corpora import traces
from supervisor.eval.opinions import Panel, opinions_table, question_in
from supervisor.eval.score import Report
from supervisor.eval.stream import Bench, Run
from supervisor.eval.trace import Trace
from supervisor.policy.judge import Opinions, Spending
from supervisor.runtime.second_opinion import Given
from supervisor.testing import ScriptedModel

pytestmark = pytest.mark.anyio

SAID = {
    "a loop, confirmed": ("loop 0.5 JUDGE:yes", True),
    "no loop, rejected": ("loop 0.4 JUDGE:no", False),
    "no loop, confirmed": ("loop 0.5 JUDGE:yes, truly", False),
    "a loop, unclear": ("loop 0.5 JUDGE:unclear", True),
    "a loop, known already": ("loop 0.9 JUDGE:no", True),
}
EVERY_ERROR = "span-level human annotation of all errors found"


@pytest.fixture
async def model(fixtures: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedModel]:
    async with ScriptedModel(fixtures / "scenarios" / "judge.yaml") as model:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", model.base_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "scripted-model")
        monkeypatch.delenv("ANTHROPIC_AUTH_TOKEN", raising=False)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        yield model


@pytest.fixture
def labelled(tmp_path: Path) -> list[Trace]:
    """One trace for each of `SAID`."""
    file = tmp_path / "said.jsonl"
    file.write_text("\n".join(json.dumps(row) for row in rows()))
    return list(traces(file))


def rows() -> Iterator[dict[str, object]]:
    for name, (text, loop) in SAID.items():
        yield {
            "id": name,
            "objective": "Fix the test.",
            "coverage": EVERY_ERROR,
            "steps": [
                {"role": "user", "text": f"Fix the test of {name}."},
                {"role": "assistant", "text": text},
            ],
            "labels": [{"class": "loop", "step": 1}] if loop else [],
        }


def judge(**changes: object) -> Opinions:
    settings = {"model": "claude-judge", "confirms": ("loop",), **changes}
    return Opinions.model_validate(settings)


async def heard(panel: Panel, bench: Bench, labelled: list[Trace]) -> list[Run]:
    return [await panel.hear(trace, bench.run(trace)) for trace in labelled]


async def test_what_is_confirmed_counts_as_found(
    model: ScriptedModel, bench: Bench, labelled: list[Trace]
) -> None:
    panel = Panel(judge(), bench)
    runs = await heard(panel, bench, labelled)

    assert [one.given for one in panel.opinions] == [
        Given.CONFIRMED,
        Given.REJECTED,
        Given.CONFIRMED,
        Given.UNCLEAR,
    ]
    assert [run.trace.id for run in runs if run.acting()] == [
        "a loop, confirmed",
        "no loop, confirmed",
        "a loop, known already",
    ]
    before = Report([bench.run(trace) for trace in labelled], frozenset(FailureMode))
    after = Report(runs, frozenset(FailureMode))
    assert before.classes["loop"].confusion == (1, 0, 2, 2)
    assert after.classes["loop"].confusion == (2, 1, 1, 1)
    assert len(model.requests) == 4


async def test_the_table_says_what_it_was_worth(
    model: ScriptedModel, bench: Bench, labelled: list[Trace]
) -> None:
    panel = Panel(judge(), bench)
    await heard(panel, bench, labelled)
    table = opinions_table("claude-judge", panel.opinions)
    assert table.rows == [("loop", "4", "2", "1", "1", "1", "1", "1", "0")]


async def test_budgets_hold_for_a_trace_and_for_all_of_them(
    model: ScriptedModel, bench: Bench, labelled: list[Trace]
) -> None:
    panel = Panel(judge(per_hour=Spending(calls=2)), bench)
    await heard(panel, bench, labelled)

    assert [one.given for one in panel.opinions][2:] == [Given.BUDGET, Given.BUDGET]
    assert len(model.requests) == 2
    assert [note.partition(": ")[2] for note in panel.notes] == [
        "judge: no second opinion (budget): the budget of this hour is used up"
    ] * 2
    assert opinions_table("m", panel.opinions).rows[0][-1] == "2"


async def test_modes_that_the_policy_does_not_name_are_not_asked_about(
    model: ScriptedModel, bench: Bench, labelled: list[Trace]
) -> None:
    panel = Panel(judge(confirms=("drift",)), bench)
    await heard(panel, bench, labelled)
    assert (panel.opinions, model.requests) == ([], [])


def test_a_question_holds_the_evidence_and_the_prompt_before_it(
    bench: Bench, labelled: list[Trace]
) -> None:
    (finding,) = bench.run(labelled[0]).findings
    question = question_in(labelled[0], finding.best)
    assert question.objective == "Fix the test."
    prompt, said = question.entries
    assert isinstance(prompt, Prompt)
    assert isinstance(said, Text)
    assert said.text == "loop 0.5 JUDGE:yes"
