"""Interruptions of the real CLI: still what was recorded, and gone on from as diagnosed.

A CLI that behaves differently shows here; then record anew and look at the difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, ResultMessage, fork_session_via_store, query

from supervisor.core.checkpoint import Checkpoints
from supervisor.core.entry import Entry
from supervisor.core.interruption import Cause, Fate, GoOn, Interruption
from supervisor.core.resumption import going_on
from supervisor.runtime.diagnosis import diagnose
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel
from tests.fixtures.interruptions.record import record
from tests.fixtures.interruptions.recording import FOLDER, SESSION, Recording, load
from tests.fixtures.interruptions.stories import DONE, PROMPT, STORIES, Story

pytestmark = pytest.mark.anyio

LIVE = (
    "connection-refused",
    "usage-limit",
    "server-error-midway",
    "hang-in-a-call",
    "killed-before-a-call",
    "killed-with-a-subagent-in-the-background",
)


def diagnosed(recording: Recording) -> Interruption:
    return diagnose(recording.entries(), recording.intents, recording.failure, sent=recording.sent)


def told(interruption: Interruption) -> tuple[Cause, GoOn, list[tuple[str, Fate]], int]:
    """What does not differ from one run to another."""
    calls = (*interruption.calls_in_doubt, *interruption.calls_not_run)
    fates = [(call.tool, call.fate) for call in calls]
    return interruption.cause, interruption.go_on, fates, len(interruption.agents_cut_off)


@pytest.mark.parametrize("name", LIVE)
async def test_the_cli_still_leaves_what_was_recorded(name: str, tmp_path: Path) -> None:
    live = await record(STORIES[name], tmp_path)

    assert told(diagnosed(live)) == told(diagnosed(load(FOLDER / f"{name}.json")))


async def carried_on(folder: Path, recording: Recording) -> list[str]:
    """Go on as diagnosed, as another worker with an empty home; what the model is told."""
    interruption = diagnosed(recording)
    said = going_on(interruption)
    prompt = [recording.sent.text] if interruption.asks_again else []
    scenario = Scenario.model_validate(
        {"about": "Ends whatever it is asked.", "replies": [{"name": "ends", "text": DONE}]}
    )
    async with ScriptedModel(scenario) as model, SqliteStore(folder / "lucid.db") as store:
        options = ClaudeAgentOptions(
            env=model.env(folder / "another-home"),
            cwd=folder / "work",
            model="claude-sonnet-5",
            session_store=store,
            resume=await where(interruption, recording.entries(), store, folder / "work"),
        )
        results: list[ResultMessage] = []
        async for message in query(
            prompt="\n\n".join([*prompt, *filter(None, [said])]), options=options
        ):
            if isinstance(message, ResultMessage):
                results.append(message)
        assert results[-1].result == DONE
        return list(model.requests[-1].context.told)


async def where(
    interruption: Interruption, entries: Sequence[Entry], store: SqliteStore, work: Path
) -> str | None:
    """The transcript to resume: as it is, cut off before the fork, or none at all."""
    if interruption.fork_before is None:
        return SESSION
    checkpoints = Checkpoints()
    for entry in entries:
        checkpoints.observe(entry)
    last = checkpoints.before(interruption.fork_before)
    if last is None:
        return None
    fork: Any = await fork_session_via_store(
        store, SESSION, directory=str(work), up_to_message_id=last.uuid
    )
    return str(fork.session_id)


def once(texts: list[str], text: str) -> bool:
    return sum(told.count(text) for told in texts) == 1


async def test_a_prompt_that_was_refused_is_seen_once(tmp_path: Path) -> None:
    first = "Say that all is done."
    story: Story = replace(
        STORIES["overloaded"],
        first=first,
        replies=[
            {"name": "first", "when": {"says": first}, "times": 1, "text": DONE},
            {"name": "fails", "fault": {"status": 529}},
        ],
    )
    recording = await record(story, tmp_path)

    texts = await carried_on(tmp_path, recording)

    assert diagnosed(recording).go_on is GoOn.RESEND
    assert once(texts, PROMPT)
    assert once(texts, first)
    assert not any("<lucid>" in text for text in texts)


async def test_a_prompt_that_was_taken_is_not_repeated(tmp_path: Path) -> None:
    recording = await record(STORIES["timeout-before-output"], tmp_path)

    texts = await carried_on(tmp_path, recording)

    assert diagnosed(recording).go_on is GoOn.CONTINUE
    assert once(texts, PROMPT)
    assert once(texts, "Go on with the task")


async def test_a_call_that_may_have_run_is_named(tmp_path: Path) -> None:
    recording = await record(STORIES["killed-in-a-call"], tmp_path)

    texts = await carried_on(tmp_path, recording)

    assert diagnosed(recording).go_on is GoOn.VERIFY
    assert once(texts, PROMPT)
    assert once(texts, '- Bash(command="echo one')
    assert once(texts, "Before you repeat one of them")
