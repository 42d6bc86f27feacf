"""`lucid eval`: figures, lists and a page."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.commands import lucid as commands
from supervisor.eval.held_out_tables import MARK
from supervisor.eval.markdown import BEGIN, END


def run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(commands, ["eval", *map(str, arguments)])


@pytest.fixture
def small(fixtures: Path) -> Path:
    return fixtures / "corpora"


def test_tables_say_what_was_measured(small: Path) -> None:
    result = run(small)
    assert result.exit_code == 0, result.output
    for words in ("By labelled class", "labelled.jsonl", "healthy sessions flagged", "Wilson"):
        assert words in result.output


def test_machines_get_one_object(small: Path) -> None:
    result = run(small, "--mode", "loop", "--json")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    assert list(found) == ["loop_cases", "modes", "healthy", "datasets"]
    assert found["loop_cases"]["loops"] == 3
    assert found["healthy"]["sessions"] == 4
    assert list(found["modes"]) == ["loop"]


def test_a_threshold_can_stand_in_for_the_policy(small: Path) -> None:
    result = run(small / "outcomes.jsonl", "--at", "0.01", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["healthy"]["sessions"] == 2
    assert run(small, "--at", "2").exit_code == 2


def test_a_page_of_documentation_is_brought_up_to_date(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"# Before\n\n{BEGIN}\noutdated\n{END}\n\nAfter.\n")
    assert run(small, "--markdown", page).exit_code == 0
    text = page.read_text()
    assert text.startswith("# Before")
    assert text.endswith("After.\n")
    assert "| labelled.jsonl | loop | 4 | 2 |" in text
    assert "outdated" not in text


def test_a_page_without_a_place_for_figures_is_an_error(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# Nothing\n")
    result = run(small, "--markdown", page)
    assert result.exit_code == 2
    assert "no place for figures" in result.stderr


def test_several_paths_are_one_evaluation(small: Path) -> None:
    result = run(small / "labelled.jsonl", small / "outcomes.jsonl", "--json")
    assert list(json.loads(result.stdout)["datasets"]) == ["labelled.jsonl", "outcomes.jsonl"]


def test_misses_are_listed(small: Path) -> None:
    result = run(small, "--show", "misses")
    assert result.exit_code == 0
    assert "labelled.jsonl loop: missed step 3" in result.stdout


def test_a_page_is_written(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    result = run(small, "--html", page)
    assert result.exit_code == 0
    assert page.read_text().startswith("<!doctype html>")


def test_a_page_that_cannot_be_written_is_an_error(small: Path, tmp_path: Path) -> None:
    result = run(small, "--html", tmp_path / "nowhere" / "report.html")
    assert result.exit_code == 2
    assert "report.html cannot be written" in result.stderr


def test_a_fault_is_told_and_the_rest_measured(small: Path, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"steps": [], "id": "a"}\n{"steps": 1}\n')
    result = run(tmp_path, small / "labelled.jsonl", "--json")
    assert result.exit_code == 0
    assert "odd.jsonl:2: not a trace" in result.stderr
    assert set(json.loads(result.stdout)["datasets"]) == {"odd.jsonl", "labelled.jsonl"}


def test_an_unknown_mode_is_refused(small: Path) -> None:
    result = run(small, "--mode", "lop")
    assert result.exit_code == 2
    assert "no failure mode 'lop': there are loop" in result.stderr


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    result = run(tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "does not exist" in result.stderr
    assert "Traceback" not in result.output


def test_nothing_but_faults_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text('{"steps": 1}\n')
    result = run(tmp_path)
    assert result.exit_code == 2
    assert "no trace could be read" in result.stderr


def test_a_judge_is_asked_about_what_no_rule_acts_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers at that address, which the table and a note say."""
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "none")
    step = {"text": "", "tool": "search"}
    searches = [
        one
        for word in ("mayor", "harbour")
        for one in (
            {**step, "role": "assistant", "input": {"query": f"the first {word} of the port city"}},
            {**step, "role": "tool", "text": f"A page about the {word}."},
        )
    ]
    traces = tmp_path / "traces.jsonl"
    traces.write_text(json.dumps({"id": "run", "steps": searches}))
    policy = tmp_path / "p.yaml"
    policy.write_text(
        "version: 1\ndetectors: {loop: {suspicions: true}}\n"
        "judge: {model: m, confirms: loop, timeout: 5s}\n"
        "rules: [{name: r, on: loop, min_confidence: 0.8, ladder: [nudge]}]\n"
    )
    result = run(traces, "--policy", policy, "--judge", "a-model")
    assert result.exit_code == 0, result.output
    assert "Second opinions of a-model" in result.stdout
    assert "no second opinion (unreachable)" in result.stderr
    assert run(traces, "--judge", "m", "--json").exit_code == 2


def test_held_out_figures_follow_the_others(small: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{BEGIN}\n{END}\n{MARK}\noutdated\n{END}\n")
    result = run(small, "--held-out", "--markdown", page)
    assert result.exit_code == 0, result.output
    assert "What was chosen" in result.output
    assert "### What was chosen" in page.read_text()
    assert "outdated" not in page.read_text()
