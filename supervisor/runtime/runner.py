"""`SessionRun`: one session from where it stands to its end, whoever left it there.

A session that was never begun is given its objective. Any other goes on from the store
alone, as its interruption asks for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKError,
    Message,
    ResultMessage,
)

from supervisor.core.feedback import addressed
from supervisor.core.interruption import GoOn, Interruption
from supervisor.core.resumption import going_on
from supervisor.core.session import SessionState
from supervisor.core.word import Heard, Word
from supervisor.errors import Drained, LeaseLost, SupervisorError
from supervisor.policy.load import Loaded
from supervisor.policy.model import Policy
from supervisor.runtime.changes import switched
from supervisor.runtime.client import SupervisedClient
from supervisor.runtime.feed import user_message
from supervisor.runtime.hold import Hold
from supervisor.runtime.opening import DRAINED
from supervisor.runtime.stops import NOT_CHECKED
from supervisor.runtime.submission import Submission
from supervisor.store.interface import SessionRow, Store
from supervisor.telemetry.logs import bind_session

__all__ = ["OPEN", "Finish", "SessionEnded", "SessionRun"]

log = logging.getLogger(__name__)

OPEN = frozenset({SessionState.QUEUED, SessionState.RUNNING})
"""The states of a session that has not come to an end."""

Hear = Callable[[Message], None]

_END_AGAIN = (
    "You ended your turn, and were interrupted before it was checked whether the work is done. "
    "If it is, say so again; if not, go on. The check is run when you end your turn."
)


class SessionEnded(SupervisorError):
    """Another worker has brought the session to an end since it was found."""


@dataclass(frozen=True)
class Finish:
    """How a run left its session."""

    state: SessionState
    reason: str
    refused: Interruption | None = None
    """Why nothing was sent, where no machine may go on."""
    answer: str | None = None
    """What the turn had ended with already, where nobody had seen it."""

    @property
    def is_resumable(self) -> bool:
        """Whether it was left in the midst of its work, for another to go on with."""
        return self.state is SessionState.RUNNING


class SessionRun:
    """Runs one session in this process, once."""

    def __init__(
        self,
        session: SessionRow,
        store: Store,
        options: ClaudeAgentOptions,
        policy: Policy | Loaded | Path | str | None,
        *,
        say: str | None = None,
        restore_files: bool | None = None,
        claims: bool = False,
    ) -> None:
        """`say`: a person's word for the agent, once it has gone on. `restore_files`: as for
        `SupervisedClient.go_on`. `claims`: no person
        asked for it, so that the policy's budget for going on holds, and a session that has
        ended since it was found is left alone (`SessionEnded`)."""
        self._session = session
        self._store = store
        self._options = options
        self._policy = policy
        self._say = say
        self._restore_files = restore_files
        self._claims = claims
        self._client: SupervisedClient | None = None
        self._work: asyncio.Task[Interruption | None] | None = None
        self._words: list[Word] = []
        self._draining = False

    @property
    def session_id(self) -> str:
        """The session's id."""
        return self._session.session_id

    async def run(self, hear: Hear = lambda message: None) -> Finish:
        """Run to the end, or until drained; `hear` gets every message.

        Raises `LeaseHeld` where another worker has the session, `LeaseLost` where one took
        it over, `SessionEnded`, and what the SDK raises where the agent cannot be started.
        """
        bind_session(self.session_id)
        begins = await _never_began(self._session, self._store)
        if not begins:
            await self._listen()
            self._options = replace(self._options, **await self._switched())
        client = self._made(begins)
        await client.connect(_only(self._session.objective or "") if begins else None)
        try:
            self._client = client
            self._work = asyncio.create_task(self._worked(client, hear, begins))
            if self._draining:
                await self.drain(0.0)
            finish = await self._finished(client)
        finally:
            self._client = None
            await client.disconnect()
        if finish.is_resumable and not finish.reason:
            # Drained before its turn was open: disconnecting has closed the session.
            await self._store.update_session(self.session_id, state=SessionState.QUEUED)
        return finish

    async def _listen(self) -> None:
        """Take what people said to the session since, for its agent to hear."""
        self._words = await self._store.words(self.session_id)
        told = [word.told for word in self._words]
        if self._say is not None:
            told.append(self._say)
        self._say = "\n".join(told) or None

    async def _switched(self) -> dict[str, Any]:
        """What actions have set for the rest of the session."""
        asked = Submission.of(self._session)
        return switched(
            await self._store.decisions(self.session_id),
            await self._store.outcomes(self.session_id),
            asked.model_since if asked is not None else None,
        )

    async def drain(self, within: float) -> None:
        """Stop in good order within so many seconds, and leave the session to be resumed;
        `run` then returns. Called again with less time, it hurries."""
        self._draining = True
        if self._client is None or self._work is None:
            return
        client = self._client
        await client.drain(within)
        if not client.state[1].startswith(DRAINED):
            self._work.cancel()  # no turn was open, so its stream does not end

    def _made(self, begins: bool) -> SupervisedClient:
        own = self.session_id
        options = (
            replace(self._options, session_id=own) if begins else replace(self._options, resume=own)
        )
        kind = _Claiming if self._claims else SupervisedClient
        asked = Submission.of(self._session)
        labels = asked.labels if asked is not None else {}
        return kind(options, policy=self._policy, store=self._store, labels=labels)

    async def _finished(self, client: SupervisedClient) -> Finish:
        assert self._work is not None
        interruption: Interruption | None = None
        error: Exception | None = None
        try:
            interruption = await self._work
        except Drained:
            log.debug("session %s was drained", self.session_id)
        except asyncio.CancelledError:
            if not self._draining:
                raise
        except LeaseLost:
            raise
        except (ClaudeSDKError, SupervisorError) as raised:
            error = raised
        state, reason = client.state
        if state is SessionState.RUNNING and not self._draining:
            state = SessionState.BROKEN
            reason = str(error or "the agent's process ended without a result").split("\n")[0]
        if interruption is None:
            return Finish(state, reason)
        refused = None if interruption.retryable or self._say is not None else interruption
        return Finish(state, reason, refused, interruption.answer)

    async def _worked(
        self, client: SupervisedClient, hear: Hear, begins: bool
    ) -> Interruption | None:
        if begins:
            async for message in client.receive_messages():
                hear(message)
            return None
        interruption = await client.go_on(
            insist=not self._claims or bool(self._words), restore_files=self._restore_files
        )
        if interruption.retryable:
            await _hear_turn(client, hear)
        if self._say is None and interruption.go_on is GoOn.HAND_OVER:
            await _have_it_checked(client, hear)
        if self._say is not None:
            await client.query(_said(self._say, interruption))
            now = datetime.now(UTC)
            heard = (Heard(session_id=w.session_id, word_id=w.id, at=now) for w in self._words)
            await self._store.record(*heard)
            await _hear_turn(client, hear)
        return interruption


class _Claiming(SupervisedClient):
    """Takes the session only if it has not ended since it was found."""

    async def hold(self, store: Store, session_id: str) -> Hold:
        held = await super().hold(store, session_id)
        row = await store.session(session_id)
        if row.state not in OPEN:
            await held.end()
            raise SessionEnded(f"session {row.session_id} has ended already: {row.state}")
        return held


async def _never_began(session: SessionRow, store: Store) -> bool:
    """Whether no prompt was ever on its way to the session's agent."""
    return session.entries == 0 and not await store.prompts(session.session_id)


async def _only(objective: str) -> AsyncIterator[dict[str, Any]]:
    """A stream of one prompt: it ends the agent's input, so that the agent ends when all
    its work is done, not with its first answer."""
    yield user_message(objective)


async def _hear_turn(client: SupervisedClient, hear: Hear) -> None:
    """A turn, and those that its subagents' reports begin where they work on after it."""
    async for message in client.receive_messages():
        hear(message)
        if isinstance(message, ResultMessage) and client.state[0] is not SessionState.RUNNING:
            return


async def _have_it_checked(client: SupervisedClient, hear: Hear) -> None:
    """A turn that ended as its worker died has not passed the checks that the policy asks
    for: have the agent end it again."""
    if client.state != (SessionState.GAVE_UP, NOT_CHECKED):
        return
    await client.query(addressed(_END_AGAIN))
    await _hear_turn(client, hear)


def _said(text: str, interruption: Interruption) -> str:
    """A person's prompt, behind what is in doubt where the agent was not told of it yet."""
    if interruption.retryable:
        return text
    doubts = going_on(interruption)
    return text if doubts is None else f"{doubts}\n\n{text}"
