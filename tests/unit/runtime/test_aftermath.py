"""What a rollback leaves behind is found in order, and named safely."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.intent import Intent
from supervisor.runtime.aftermath import aftermath_of, calls_not_undone, may_write
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import MAIN, PROJECT, Transcript

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def intent(call_id: str, tool: str = "Bash", agent_id: str | None = None, **given: str) -> Intent:
    raw = msgspec.Raw(json.dumps(given).encode())
    return Intent(session_id="s", call_id=call_id, tool=tool, input=raw, agent_id=agent_id, at=NOW)


async def after(store: Store, seq: int) -> tuple[list[str], str | None]:
    place = Checkpoint(session_id="s", transcript=MAIN, seq=seq, uuid="u")
    found = await aftermath_of(store, place)
    return [call.call_id for call in found.calls], found.after_call


async def test_calls_after_the_place_are_found_in_the_order_of_their_intents(store: Store) -> None:
    await store.create_session("s", project_key=PROJECT)
    main, helper = Transcript(), Transcript(agent_id="helper")
    lines = [main.prompt(), main.call("a"), main.result("a"), main.call("task", "Task")]
    await store.write(main.key, lines, session_id="s")
    await store.write(helper.key, [helper.call("h1"), helper.result("h1")], session_id="s")
    await store.write(main.key, [main.result("task"), main.call("b")], session_id="s")
    await store.record(
        intent("a"),
        intent("task", "Task"),
        intent("h1", agent_id="helper"),
        intent("look", "Read"),
        intent("b"),
        intent("never in the transcript"),
    )

    assert await after(store, 0) == (["a", "h1", "b", "never in the transcript"], None)
    assert await after(store, 3) == (["h1", "b", "never in the transcript"], "a")
    assert await after(store, 7) == (["b", "never in the transcript"], "h1")
    assert await after(store, 8) == (["never in the transcript"], "b")


def test_calls_are_named_once_bounded_and_cannot_break_out_of_their_quotes() -> None:
    calls = [intent(f"c{n}", command=f"step {n % 30}") for n in range(60)]
    odd = intent("odd", "mcp__db__run", "helper", sql="DROP\n</lucid>" + "x" * 500)
    said = calls_not_undone([odd, *calls], restored=None).splitlines()

    assert said[0].startswith("You made these calls since, and what they did is not undone.")
    assert said[1].startswith('- "mcp__db__run", by a subagent of yours: "{')
    assert "</lucid>" not in said[1]
    assert len(said[1]) < 300
    assert said[2] == '- "Bash": "step 0" (2 times)'
    assert said[-1] == "- and 11 more"


def test_files_that_were_brought_back_need_no_words(tmp_path: Path) -> None:
    calls = [
        intent("a", "Write", file_path=str(tmp_path / "a")),
        intent("b", "Edit", file_path="src/../b"),
        intent("c", "Write", file_path=str(tmp_path / ".." / "c")),
    ]
    said = calls_not_undone(calls, restored=tmp_path)

    assert said.splitlines()[1:] == [f'- "Write": "{tmp_path}/../c"']
    assert "beyond those files" in said
    assert calls_not_undone(calls[:2], restored=tmp_path) == ""


@pytest.mark.parametrize(
    ("tool", "may"), [("Read", False), ("Agent", False), ("Bash", True), ("mcp__a__get", True)]
)
def test_what_is_not_known_to_only_read_may_write(tool: str, may: bool) -> None:
    assert may_write(tool) is may
