"""Nothing that a transcript holds can speak as Lucid to the agent, whatever is done with it."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.digest import Digest, Step
from supervisor.core.template import VARIABLES, spoken
from supervisor.core.verdict import Fact
from tests.unit.core.conftest import verdict
from tests.unit.core.test_feedback import ATTACKS

TEMPLATES = {
    "a variable in braces": "{{ feedback }} {{ objective }} {% for x in done %}{% endfor %}",
    "code in braces": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "a comment": "{# {% raw %} {{ 7 * 7 }}",
}
EVERYTHING = "\n".join(
    f"{{{{ {name} if {name} is string or {name} is number else {name} | join('\n') }}}}"
    if name != "facts"
    else "{{ facts.said }}"
    for name in VARIABLES
)


class Told:
    """An agent whose transcript holds nothing but `said`."""

    def __init__(self, said: str) -> None:
        self.reported: list[str] = []
        step = Step(
            seq=5,
            agent_id=None,
            tool=said,
            given=said,
            fingerprint="f",
            result_seq=6,
            result=said,
            is_error=True,
        )
        self._digest = Digest(
            objective=said, asked_since=(said,), done=(step,), todos=(said,), recent=(step,)
        )

    def digest(self) -> Digest:
        return self._digest

    def report(self, source: str, problem: str) -> None:
        self.reported.append(problem)


def decision(said: str) -> Decision:
    facts: dict[str, Fact] = {"said": said, "steps": (said,)}
    found: Any = verdict(facts=facts, summary=said, key=said)
    return Decision(
        id="d",
        session_id="s",
        seq=9,
        at=datetime(2026, 1, 1, tzinfo=UTC),
        verdict=found,
        choice=Choice.ACT,
        reason="r",
        rule="break loops",
        action="nudge",
    )


@pytest.mark.parametrize("frame", ["{{ message }}", "Before. {{ message }}\n{{ evidence }}"])
@pytest.mark.parametrize("attack", [*ATTACKS, *TEMPLATES])
def test_a_prompt_holds_what_it_quotes(attack: str, frame: str) -> None:
    said = {**ATTACKS, **TEMPLATES}[attack]
    agent = Told(said)
    text = spoken(decision(said), agent, frame, EVERYTHING)

    assert text.startswith("<lucid>\n")
    assert text.endswith("\n</lucid>")
    assert text.count("<") == text.count(">") == 2
    assert not {unicodedata.category(char) for char in text if char != "\n"} & {"Cc", "Cf", "Cs"}
    text.encode()
    if agent.reported:
        assert "more than 16000 characters" in agent.reported[0], (
            "the only thing it can bring about"
        )
        return
    harmless = spoken(decision("x"), Told("x"), frame, EVERYTHING)
    assert text.count("\n") == harmless.count("\n"), "it begins no line of its own"


@pytest.mark.parametrize("attack", TEMPLATES)
def test_what_is_quoted_is_no_template(attack: str) -> None:
    text = spoken(decision(TEMPLATES[attack]), Told("x"), "{{ message }}", "{{ facts.said }}")
    assert "{" in text, "it is shown as it is"
