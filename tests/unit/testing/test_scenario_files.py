"""Scenario files: their faults, their choice of a reply, the files they prepare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from supervisor.testing import Scenario, ScenarioError, load_scenario, shipped_scenarios

Converse = Callable[..., Any]


def faults_of(path: Path) -> list[str]:
    with pytest.raises(ScenarioError) as caught:
        load_scenario(path)
    return [fault.removeprefix(f"{path}: ") for fault in caught.value.faults]


def test_all_faults_of_a_file_are_reported_at_once_with_their_place(scenarios: Path) -> None:
    faults = faults_of(scenarios / "many-faults.yaml")

    assert faults == [
        "max_turns: Input should be greater than 0",
        "replies[0].when.says[0]: not a regular expression: "
        "missing ), unterminated subpattern at position 0",
        "replies[1].when.calls[0].input: a regular expression must be text, not 42: "
        "put it in quotes",
        "replies[2]: give a text, thinking, calls or a fault",
        "replies[3].when.results[0]: at_least 3 is above at_most 2",
        "replies[4].fault: give exactly one of status, hang and drop",
        "replies[5]: only a fault midway has content: there is no message otherwise",
        "replies[6].when.any[0].not.agent: Input should be 'main' or 'subagent'",
        "replies[7].name: Field required",
        "delai: Extra inputs are not permitted",
    ]


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("repeated-name", "scenario: names of replies must be unique: twice"),
        ("repeated-key", "line 6, column 5: the key 'when' stands twice"),
        ("not-yaml", "line 3, column 1: expected ',' or '}', but got '<stream end>'"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(scenarios: Path, name: str, fault: str) -> None:
    assert faults_of(scenarios / f"{name}.yaml") == [fault]


def test_a_file_that_is_not_there_names_those_that_are_shipped(tmp_path: Path) -> None:
    (fault,) = faults_of(tmp_path / "helo.yaml")

    assert fault == f"no such file, and shipped scenarios are {', '.join(shipped_scenarios())}"


def test_an_empty_file_is_a_fault(tmp_path: Path) -> None:
    path = tmp_path / "empty.yaml"
    path.touch()

    (fault,) = faults_of(path)

    assert fault.startswith("scenario: Input should be a valid dictionary")


def test_a_used_up_reply_makes_way_for_the_next(converse: Converse) -> None:
    scenario = Scenario.model_validate(
        {
            "about": "Speaks twice.",
            "replies": [
                {"name": "first", "times": 2, "text": "1"},
                {"name": "second", "text": "2"},
            ],
        }
    )
    context = converse(scenario, None).context()

    replies = [scenario.reply_to(context, {"first": used}) for used in range(4)]

    assert [reply and reply.name for reply in replies] == ["first", "first", "second", "second"]


def test_prepare_writes_the_files_and_their_folders(tmp_path: Path) -> None:
    scenario = load_scenario("stuck-then-phantom")

    scenario.prepare(tmp_path)

    written = {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*") if p.is_file()}
    assert written == {"build.log", "logs/worker.log"}
    assert (tmp_path / "build.log").read_text() == scenario.files["build.log"]


def test_prepare_names_every_path_that_leaves_the_folder_and_writes_nothing(
    scenarios: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()

    with pytest.raises(ScenarioError) as caught:
        load_scenario(scenarios / "leaves-the-folder.yaml").prepare(folder)

    assert [fault.split(": ")[0] for fault in caught.value.faults] == [
        "files['../outside.txt']",
        "files['/tmp/outside.txt']",
        "files['inside/../../outside.txt']",
    ]
    assert list(tmp_path.rglob("*")) == [folder]


def test_prepare_does_not_follow_a_link_out_of_the_folder(tmp_path: Path) -> None:
    folder, outside = tmp_path / "work", tmp_path / "outside"
    folder.mkdir()
    outside.mkdir()
    (folder / "link").symlink_to(outside)
    scenario = Scenario.model_validate(
        {"about": "x", "files": {"link/a": "x"}, "replies": [{"name": "a", "text": "a"}]}
    )

    with pytest.raises(ScenarioError, match="leaves the folder"):
        scenario.prepare(folder)

    assert not list(outside.iterdir())
