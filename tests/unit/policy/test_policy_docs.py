"""What `docs/policies.md` shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import BaseModel

from supervisor.errors import PolicyError
from supervisor.policy.cases import read_cases
from supervisor.policy.judge import OpinionPrice, Opinions, Spending
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Limit, Policy, Rule, StoreAbsence
from supervisor.policy.shipped import shipped_policies
from supervisor.runtime import registry
from supervisor.runtime.casework import run_cases

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
POLICIES = [text for text in BLOCKS if text.startswith("version:")]
TESTS = [text for text in BLOCKS if not text.startswith("version:")]
BROKEN = """version: 1
mod: act
rules:
  - name: break loops
    on: loop
    cooldown: 3 turns
    ladder:
      - nugde
"""


@pytest.mark.parametrize("text", POLICIES)
def test_every_policy_on_the_page_loads(text: str) -> None:
    policy = parse_policy(
        text, "p.yaml", detectors=registry.detectors(), actions=registry.actions()
    )

    assert policy.rules


@pytest.mark.parametrize("text", TESTS)
def test_every_test_on_the_page_passes(text: str, tmp_path: Path) -> None:
    path = tmp_path / "p.test.yaml"
    path.write_text(text)

    assert run_cases(read_cases(path)) == []


def test_the_problems_on_the_page_are_what_such_a_policy_gets(
    parse: Callable[[str], Policy],
) -> None:
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)

    with pytest.raises(PolicyError) as raised:
        parse(BROKEN)

    assert str(raised.value) + "\n" == shown


@pytest.mark.parametrize(
    "model", [Policy, Limit, OpinionPrice, Opinions, Rule, Spending, StoreAbsence]
)
def test_every_key_is_on_the_page(model: type[BaseModel]) -> None:
    whole = POLICIES[1]

    assert [key for key in model.model_fields if not re.search(rf"\b{key}:", whole)] == []


def test_every_shipped_policy_is_on_the_page() -> None:
    assert [name for name in shipped_policies() if f"| `{name}` |" not in PAGE] == []
