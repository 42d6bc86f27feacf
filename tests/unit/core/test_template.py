"""The messages that a policy's author writes: what is refused when they are read."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from supervisor.core.template import VARIABLES, Message
from supervisor.errors import PolicyError
from supervisor.policy.load import parse_policy
from supervisor.runtime import registry

MESSAGES: TypeAdapter[str] = TypeAdapter(Message)


@pytest.mark.parametrize(
    "source",
    [
        "Read the manual.",
        "100 % of {braces} and $dollars",
        "{{ facts.tool | default('it') }}",
        "{% for line in done %}- {{ line }}{% endfor %}",
        "{% set x = failure_mode %}{{ x | upper }}",
        *(f"{{{{ {name} }}}}" for name in VARIABLES),
    ],
)
def test_a_message_is_taken(source: str) -> None:
    assert MESSAGES.validate_python(source) == source


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("{{ feedback", "not a template: unexpected end of template"),
        ("one\n{{ feedback | nofilter }}", "not a template in its line 2: No filter named"),
        ("{{ evidense }}", "cannot use 'evidense'; it has feedback,"),
        ("{% for i in range(9) %}{% endfor %}", "cannot use 'range'"),
        ("{{ failure | indent(10**9) }}", "No filter named 'indent'"),
        ("{% include 'secrets' %}{{ feedbak }}", "cannot use 'feedbak'"),
        ("x" * 9_000, "at most 8000 characters"),
    ],
)
def test_a_message_is_refused_with_its_reason(source: str, reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        MESSAGES.validate_python(source)
    assert reason in str(caught.value)


def test_a_fault_of_a_message_has_its_place_in_the_policy() -> None:
    text = """\
version: 1
rules:
  - name: break loops
    on: loop
    ladder:
      - nudge:
          message: "Look at {{ evidense }}"
"""
    with pytest.raises(PolicyError) as caught:
        parse_policy(text, "p.yaml", detectors=registry.detectors(), actions=registry.actions())

    (problem,) = caught.value.problems
    assert str(problem).startswith("p.yaml:7:20: rules[0].ladder[0].nudge.message: a message can")
