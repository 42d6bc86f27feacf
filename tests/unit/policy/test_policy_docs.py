"""What `docs/policies.md` shows is true."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.errors import PolicyError
from supervisor.policy.model import Limit, Policy, Rule
from supervisor.policy.shipped import shipped_policies

PAGE = (Path(__file__).parents[3] / "docs" / "policies.md").read_text(encoding="utf-8")
POLICIES = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
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
def test_every_policy_on_the_page_loads(text: str, parse: Callable[[str], Policy]) -> None:
    assert parse(text).rules


def test_the_problems_on_the_page_are_what_such_a_policy_gets(
    parse: Callable[[str], Policy],
) -> None:
    [shown] = re.findall(r"```text\n(.*?)```", PAGE, re.DOTALL)

    with pytest.raises(PolicyError) as raised:
        parse(BROKEN)

    assert str(raised.value) + "\n" == shown


@pytest.mark.parametrize("model", [Policy, Limit, Rule])
def test_every_key_is_on_the_page(model: type[Policy | Limit | Rule]) -> None:
    whole = POLICIES[1]

    assert [key for key in model.model_fields if not re.search(rf"\b{key}:", whole)] == []


def test_every_shipped_policy_is_on_the_page() -> None:
    assert [name for name in shipped_policies() if f"| `{name}` |" not in PAGE] == []
