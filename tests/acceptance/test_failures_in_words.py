"""A failure that shows in the words with which a turn ends, with the real SDK and CLI."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from claude_agent_sdk import ClaudeAgentOptions, Message, ResultMessage, SystemMessage

from supervisor import SupervisedClient
from supervisor.core.session import SessionState
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]
BROKEN = "the the disk " * 40


def story(*replies: dict[str, object]) -> Scenario:
    return Scenario.model_validate({"about": "Falls apart.", "replies": list(replies)})


async def play(
    played: Scenario, options: Options, store: SqliteStore
) -> tuple[list[Message], SessionState]:
    async with (
        ScriptedModel(played) as model,
        SupervisedClient(options(model), store=store, policy="default") as client,
        asyncio.timeout(30),
    ):
        await client.query("Say why the build failed.")
        messages = [message async for message in client.receive_response()]
        return messages, client.state[0]


def outcomes(messages: list[Message]) -> list[tuple[str, str]]:
    found = [m.data for m in messages if isinstance(m, SystemMessage)]
    return [(e["action"], e["status"]) for e in found if e["subtype"] == "lucid_outcome"]


async def test_the_end_of_the_turn_does_not_forestall_what_answers_it(
    options: Options, store: SqliteStore
) -> None:
    again = {"name": "recovers", "when": {"told": "took you back"}, "text": "The disk is full."}
    played = story(again, {"name": "falls apart", "text": BROKEN})

    messages, state = await play(played, options, store)

    (result,) = [m for m in messages if isinstance(m, ResultMessage)]
    assert result.result == "The disk is full."
    assert outcomes(messages) == [("rollback", "cleared")]
    assert state is SessionState.REACHED


async def test_words_that_fail_again_move_the_ladder(options: Options, store: SqliteStore) -> None:
    recovers = {
        "name": "recovers",
        "when": {"told": "interrupted by your supervisor"},
        "text": "The disk is full.",
    }
    played = story(recovers, {"name": "falls apart", "text": BROKEN})

    messages, state = await play(played, options, store)

    (result,) = [m for m in messages if isinstance(m, ResultMessage)]
    assert result.result == "The disk is full."
    assert outcomes(messages) == [("rollback", "failed"), ("correct", "cleared")]
    assert state is SessionState.REACHED
