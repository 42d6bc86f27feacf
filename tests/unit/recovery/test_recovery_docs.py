"""`docs/recovery.md` has a section for each action, and what it shows is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from supervisor.core.action import ActionParams
from supervisor.core.template import VARIABLES
from supervisor.policy.load import parse_policy
from supervisor.runtime import registry

PAGE = (Path(__file__).parents[3] / "docs" / "recovery.md").read_text(encoding="utf-8")
SECTIONS = {
    title: body for title, body in re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)
}
ACTIONS = registry.actions()


@pytest.mark.parametrize("name", ACTIONS)
def test_an_action_has_a_section_and_a_row(name: str) -> None:
    assert name in SECTIONS
    assert f"[`{name}`](#{name})" in PAGE


@pytest.mark.parametrize("name", ACTIONS)
def test_every_parameter_is_in_its_section(name: str) -> None:
    own = ACTIONS[name].Params.model_fields.keys() - ActionParams.model_fields.keys()
    assert [field for field in own if f"`{field}`" not in SECTIONS[name]] == []


def test_no_section_is_about_an_action_that_does_not_exist() -> None:
    assert {title for title in SECTIONS if "_" in title or title.islower()} == set(ACTIONS)


@pytest.mark.parametrize("name", sorted(ACTIONS.keys() - {"escalate"}))
def test_the_example_of_an_action_loads(name: str) -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", SECTIONS[name], re.S)
    mode = {"verify": "stop", "resume": "interruption"}.get(name, "loop")
    rungs = "\n".join(f"      {line}" for line in example.splitlines())
    text = f"version: 1\nrules:\n  - name: r\n    on: {mode}\n    ladder:\n{rungs}\n"

    policy = parse_policy(text, "x.yaml", detectors=registry.detectors(), actions=ACTIONS)
    assert [rung.action for rung in policy.rules[0].ladder] == [name]


def test_the_example_of_a_message_loads() -> None:
    (example,) = re.findall(r"```yaml\n(version.*?)```", PAGE, re.S)
    policy = parse_policy(example, "x.yaml", detectors=registry.detectors(), actions=ACTIONS)
    assert policy.rules


def test_every_name_that_a_message_may_use_is_told() -> None:
    assert [name for name in VARIABLES if f"`{name}`" not in PAGE] == []
