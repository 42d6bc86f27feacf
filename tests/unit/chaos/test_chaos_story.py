"""The model of `make chaos`: it verifies as told, and never of its own accord."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.core.interruption import Fate, LostCall
from supervisor.core.resumption import continue_prompt, verify_prompt
from supervisor.testing import Context
from supervisor.testing.request import decode
from tests.chaos.grid import figures_of, is_met
from tests.chaos.plan import CELLS, Plan
from tests.chaos.run import Run
from tests.chaos.story import OBJECTIVE, Story


@pytest.fixture
def story(tmp_path: Path) -> Story:
    return Story.in_folder(tmp_path, steps=3)


def lost(story: Story, step: int, fate: Fate = Fate.UNKNOWN) -> LostCall:
    given = msgspec.Raw(msgspec.json.encode({"command": story.command(step)}))
    return LostCall(call_id="c", tool="Bash", input=given, fate=fate)


def after(*said: str | tuple[str, str]) -> Context:
    """A context: prompts, and pairs of a call's command and its result."""
    messages: list[dict[str, Any]] = [{"role": "user", "content": OBJECTIVE}]
    for number, each in enumerate(said):
        if isinstance(each, str):
            messages.append({"role": "user", "content": each})
            continue
        command, text = each
        call = {"type": "tool_use", "id": str(number), "name": "Bash", "input": {"c": command}}
        result = {"type": "tool_result", "tool_use_id": str(number), "content": text}
        messages.append({"role": "assistant", "content": [call]})
        messages.append({"role": "user", "content": [result]})
    body = {"model": "m", "messages": messages}
    return Context.of(decode(msgspec.json.encode(body)))


def next_of(story: Story, context: Context) -> str:
    reply = story.reply_to(context)
    assert reply is not None
    return reply.name


def test_it_takes_step_after_step(story: Story) -> None:
    first, second = ("step 1", "step 1: ok"), ("step 2", "step 2: ok")

    assert next_of(story, after()) == "step 1"
    assert next_of(story, after(first)) == "step 2"
    assert next_of(story, after(first, second, ("step 3", "step 3: ok"))) == "ends"


def test_it_looks_where_a_call_may_have_run_and_does_what_is_missing(story: Story) -> None:
    told = verify_prompt([lost(story, 1)])

    assert next_of(story, after(told)) == "looks"
    assert next_of(story, after(told, ("look", "log: 1 (end of log)"))) == "step 2"
    assert next_of(story, after(told, ("look", "log: (end of log)"))) == "step 1"


def test_it_makes_again_what_it_is_not_told_of(story: Story) -> None:
    interrupted = ("step 1", "[Tool call interrupted: its outcome is unknown]")
    told = continue_prompt([lost(story, 1, Fate.NOT_RUN)])

    assert next_of(story, after(interrupted)) == "step 1"
    assert next_of(story, after(interrupted, told)) == "step 1"


def test_the_same_seed_is_the_same_plan() -> None:
    assert [Plan.drawn(cell, "1/0") for cell in CELLS] == [Plan.drawn(c, "1/0") for c in CELLS]
    assert Plan.drawn(CELLS[0], "1/0") != Plan.drawn(CELLS[0], "1/1")


@pytest.mark.parametrize(
    "fault",
    [
        {"resumed": False},
        {"invisible": ["Bash"]},
        {"repeated": [1]},
        {"lost": [1]},
        {"orphans": ["claude"]},
        {"prompts": 2},
    ],
    ids=lambda fault: next(iter(fault)),
)
def test_any_fault_misses_a_bar(fault: dict[str, Any]) -> None:
    good = Run(CELLS[0], "1/0", resumed=True, prompts=1)
    bad = Run(CELLS[0], "1/1", **{"resumed": True, "prompts": 1, **fault})

    assert good.is_good
    assert is_met(figures_of(CELLS[0], [good]))
    assert not bad.is_good
    assert not is_met(figures_of(CELLS[0], [good, bad]))
