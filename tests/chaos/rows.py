"""Every story of how a turn may end (tests/fixtures/interruptions), gone on with.

A story is played until its end, then another worker has nothing but the store: it goes on
in another folder, with an empty home. Where a person is needed, it has to say so, once, and
ask the model nothing. Three stories are told by their end alone, which dies with its worker,
two of them before anything was asked: they are played under supervision, and have to stop.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKError, Message, ResultMessage

from supervisor import SupervisedClient
from supervisor.core.interruption import GoOn
from supervisor.core.session import SessionState
from supervisor.errors import SupervisorError
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel
from tests.chaos.run import new_folder
from tests.fixtures.interruptions.record import record
from tests.fixtures.interruptions.recording import SESSION
from tests.fixtures.interruptions.stories import DONE, PROMPT, STORIES, Story

__all__ = ["Told", "play_rows"]

LIMIT_SECONDS = 120.0
_SEEN_BY_THE_CALLER = frozenset({"cannot-start", "process-fails-at-the-start", "turn-limit"})
_SOON = {"usage-limit": 5, "rate-limited-retry-after": 62}
"""Seconds until the service is to be asked again, in place of the hours of the recording.
The CLI says that it waits only where it is for more than a minute."""

_COMPACTED = "continued from a previous conversation"
"""How Claude Code 2.1.330 begins a context that was compacted."""

_HEALTHY = Scenario.model_validate(
    {
        "about": "The service is well again, and the agent ends.",
        "replies": [
            {
                "name": "summary",
                "when": {"request": "compaction"},
                "text": "<summary>The line is there.</summary>",
            },
            {"name": "ends", "text": DONE},
        ],
    }
)


@dataclass
class Told:
    """What came of one story."""

    story: str
    cause: str = ""
    go_on: str = ""
    ended: str = ""
    prompt_sent: int | None = None
    """How often the prompt stood in the model's last context; None where it was not asked."""
    compacted: bool = False
    """A summary stands in the prompt's place."""
    explanations: int = 0
    """Verdicts that say why it was interrupted."""
    ok: bool = False
    why_not: str = ""

    @property
    def figures(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)


async def play_rows(names: Sequence[str]) -> list[Told]:
    """Play the stories, as many at once as there are processors."""
    at_once = asyncio.Semaphore(os.cpu_count() or 1)

    async def play(story: Story) -> Told:
        told = Told(story.name)
        async with at_once:
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await _play(story, told)
            except (SupervisorError, ClaudeSDKError, TimeoutError, OSError) as error:
                told.why_not = f"{type(error).__name__}: {error}"
        print(f"{told.story}: {'ok' if told.ok else f'NOT GOOD {told}'}", flush=True)
        return told

    return await asyncio.gather(*(play(STORIES[name]) for name in names))


async def _play(story: Story, told: Told) -> None:
    with new_folder() as folder:
        if story.name in _SEEN_BY_THE_CALLER:
            await _supervised(story, folder, told)
            return
        await record(_within_reach(story), folder)
        await _gone_on(folder, told)


def _within_reach(story: Story) -> Story:
    """The story with its waits cut short."""
    if (seconds := _SOON.get(story.name)) is None:
        return story
    (reply,) = story.replies
    until = int(time.time()) + seconds
    said = {"retry-after": str(seconds), "anthropic-ratelimit-unified-reset": str(until)}
    given = reply["fault"]["headers"]
    headers = {name: said.get(name, value) for name, value in given.items()}
    return replace(story, replies=[{**reply, "fault": {**reply["fault"], "headers": headers}}])


async def _gone_on(folder: Path, told: Told) -> None:
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    async with (
        ScriptedModel(_HEALTHY) as model,
        SqliteStore(folder / "lucid.db") as store,
    ):
        options = ClaudeAgentOptions(
            env=model.env(folder / "another-home"),
            cwd=elsewhere,
            model="claude-sonnet-5",
            resume=SESSION,
        )
        async with SupervisedClient(options, store=store) as client:
            interruption = await client.go_on()
            messages: list[Message] = []
            if interruption.retryable:
                messages = [message async for message in client.receive_response()]
        told.cause, told.go_on = str(interruption.cause), str(interruption.go_on)
        _judge(told, model, messages)
        await _explained(told, store)


def _judge(told: Told, model: ScriptedModel, messages: Sequence[Message]) -> None:
    asked = [r for r in model.requests if r.context.request == "ordinary"]
    if asked:
        texts = asked[-1].context.told
        told.prompt_sent = sum(text.count(PROMPT) for text in texts)
        told.compacted = any(_COMPACTED in text for text in texts)
    results = [message for message in messages if isinstance(message, ResultMessage)]
    told.ended = str(results[-1].result) if results else ""


async def _explained(told: Told, store: SqliteStore) -> None:
    row = await store.session(SESSION)
    verdicts = [v for v in await store.verdicts(SESSION) if v.detector == "diagnosis"]
    told.explanations = len(verdicts)
    match told.go_on:
        case GoOn.HAND_OVER:
            told.ok = told.ended == DONE and told.prompt_sent is None
        case GoOn.STOP | GoOn.PAUSE:
            stopped = row.state in {SessionState.BROKEN, SessionState.CLOSED}
            explained = len(verdicts) == 1 and bool(row.state_reason)
            told.ok = stopped and explained and told.prompt_sent is None
        case _:
            told.ok = told.ended == DONE and row.state is SessionState.REACHED
            told.ok = told.ok and told.prompt_sent == (0 if told.compacted else 1)
    if not told.ok:
        told.why_not = f"{row.state}: {row.state_reason}"


async def _supervised(story: Story, folder: Path, told: Told) -> None:
    """The story, with the supervisor there to see its result."""
    (folder / "work").mkdir()
    played = Scenario.model_validate({"about": story.about, "replies": story.replies})
    async with ScriptedModel(played) as model, SqliteStore(folder / "lucid.db") as store:
        options = ClaudeAgentOptions(
            env={**model.env(folder / "home"), **story.env},
            cwd=folder / "work",
            model="claude-sonnet-5",
            permission_mode="bypassPermissions",
            session_id=SESSION,
            **story.options,
        )
        told.go_on = story.go_on
        try:
            async with SupervisedClient(options, store=store) as client:
                await client.query(PROMPT)
                messages = [message async for message in client.receive_response()]
                state = client.state[0]
        except (SupervisorError, ClaudeSDKError) as error:
            told.ended, told.explanations = str(error).split("\n")[0], 1
            told.ok = not model.requests
            return
        _judge(told, model, messages)
        results = [message for message in messages if isinstance(message, ResultMessage)]
        told.ended = results[-1].subtype
        told.explanations = len(results)
        told.ok = len(results) == 1 and told.prompt_sent == 1 and state is SessionState.GAVE_UP
