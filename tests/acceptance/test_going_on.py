"""An interrupted session is gone on with by another worker, from the store alone: in another
folder, with an empty home, and in the way that fits what happened."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message, ResultMessage

from supervisor import SupervisedClient
from supervisor.core.interruption import GoOn, Interruption
from supervisor.core.session import SessionState
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel
from tests.fixtures.interruptions.record import record
from tests.fixtures.interruptions.recording import SESSION
from tests.fixtures.interruptions.stories import DONE, PROMPT, STORIES

pytestmark = pytest.mark.anyio

LIMIT = 40.0
ENDS = Scenario.model_validate(
    {"about": "Ends whatever it is asked.", "replies": [{"name": "ends", "text": DONE}]}
)

RETRYABLE = (
    "connection-refused",
    "name-not-resolved",
    "stream-dropped",
    "killed-in-output",
    "killed-before-a-call",
    "killed-after-a-call",
    "killed-in-one-of-two-calls",
    "killed-in-a-subagent",
    "prompt-lost",
    "second-prompt-lost",
)


class GoneOn:
    """What came of going on elsewhere."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.interruption: Interruption | None = None
        self.messages: list[Message] = []
        self.told: list[str] = []
        self.requests = 0
        self.row: SessionRow | None = None

    @property
    def answers(self) -> list[str | None]:
        return [m.result for m in self.messages if isinstance(m, ResultMessage)]

    async def by_another_worker(self) -> GoneOn:
        elsewhere = self.folder / "elsewhere"
        elsewhere.mkdir(exist_ok=True)
        async with (
            asyncio.timeout(LIMIT),
            ScriptedModel(ENDS) as model,
            SqliteStore(self.folder / "lucid.db") as store,
        ):
            options = ClaudeAgentOptions(
                env=model.env(self.folder / "another-home"),
                cwd=elsewhere,
                model="claude-sonnet-5",
                resume=SESSION,
            )
            async with SupervisedClient(options, store=store) as client:
                self.interruption = await client.go_on()
                if self.interruption.retryable:
                    self.messages = [m async for m in client.receive_response()]
            self.requests = len(model.requests)
            self.told = list(model.requests[-1].context.told) if model.requests else []
            self.row = await store.session(SESSION)
        return self

    def how_often(self, text: str) -> int:
        return sum(told.count(text) for told in self.told)


@pytest.mark.parametrize("name", RETRYABLE)
async def test_the_model_sees_the_prompt_once_and_every_call_in_doubt(
    name: str, tmp_path: Path
) -> None:
    story = STORIES[name]
    await record(story, tmp_path)

    gone_on = await GoneOn(tmp_path).by_another_worker()

    assert gone_on.answers[-1] == DONE
    assert gone_on.how_often(PROMPT) == 1
    assert gone_on.row is not None
    assert gone_on.row.state is SessionState.REACHED
    if story.in_doubt:
        assert gone_on.how_often("Before you repeat one of them") == 1
        assert gone_on.how_often('- Bash(command="echo') >= 1


async def test_a_finished_turn_is_handed_over_and_the_model_asked_nothing(tmp_path: Path) -> None:
    await record(STORIES["finished-unseen"], tmp_path)

    gone_on = await GoneOn(tmp_path).by_another_worker()

    assert gone_on.interruption is not None
    assert gone_on.interruption.go_on is GoOn.HAND_OVER
    assert gone_on.answers == [DONE]
    assert gone_on.requests == 0


@pytest.mark.parametrize(
    ("name", "go_on", "state"),
    [
        ("not-authenticated", GoOn.STOP, SessionState.BROKEN),
        ("interrupted", GoOn.PAUSE, SessionState.CLOSED),
    ],
)
async def test_what_needs_a_person_is_not_gone_on_with(
    name: str, go_on: GoOn, state: SessionState, tmp_path: Path
) -> None:
    await record(STORIES[name], tmp_path)

    gone_on = await GoneOn(tmp_path).by_another_worker()

    assert gone_on.interruption is not None
    assert gone_on.interruption.go_on is go_on
    assert gone_on.requests == 0
    assert gone_on.row is not None
    assert gone_on.row.state is state


async def test_a_transcript_with_a_gap_is_joined_and_that_is_said(tmp_path: Path) -> None:
    await record(STORIES["killed-after-a-call"], tmp_path)
    lost = await without_the_first_words(tmp_path)

    gone_on = await GoneOn(tmp_path).by_another_worker()

    assert lost
    assert gone_on.answers[-1] == DONE
    assert gone_on.how_often(PROMPT) == 1, "what comes before the gap is still read"
    async with SqliteStore(tmp_path / "lucid.db") as store:
        said = [incident.message for incident in await store.incidents(SESSION)]
    assert any("joined over the gap" in message for message in said)


async def without_the_first_words(folder: Path) -> bool:
    """Take an entry out of the middle of the stored transcript."""
    with sqlite3.connect(folder / "lucid.db") as database:
        rows = database.execute("SELECT rowid, raw FROM entry ORDER BY seq").fetchall()
        for number, raw in rows:
            if b'"type":"assistant"' in raw and b'"type":"text"' in raw:
                database.execute("DELETE FROM entry WHERE rowid = ?", (number,))
                return True
    return False
