"""A person answers a session, from any host that reaches its store."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from uuid import uuid4

from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode
from supervisor.core.word import Saying, Word
from supervisor.errors import SupervisorError
from supervisor.runtime.submission import Submission
from supervisor.store.interface import SessionRow, Store

__all__ = ["Answered", "answer"]


class Answered(StrEnum):
    """What comes of an answer."""

    FINISHED = "finished"
    """The agent had finished, and a person approves: the session is reached."""
    QUEUED = "queued"
    """A worker goes on with it."""
    WAITS = "waits"
    """Whoever resumes it passes it on."""
    ON_ITS_WAY = "on_its_way"
    """It runs, and its agent reads it at its next tool call."""


async def answer(
    store: Store, row: SessionRow, saying: Saying, text: str = "", *, by: str = ""
) -> Answered:
    """Say something to a session, which is kept until its agent gets it.

    Raises `SupervisorError` where approval or rejection is of nothing: the session does not
    wait for it.
    """
    if saying is not Saying.SAY and row.state is not SessionState.PAUSED:
        raise SupervisorError(
            f"session {row.session_id} waits for nobody: it is {row.state}. "
            "'lucid say' tells it something all the same"
        )
    if saying is Saying.APPROVE and not text and await _has_finished(store, row):
        reason = f"approved by {by}" if by else "approved"
        await store.update_session(row.session_id, state=SessionState.REACHED, state_reason=reason)
        return Answered.FINISHED
    word = Word(
        session_id=row.session_id,
        id=uuid4().hex,
        at=datetime.now(UTC),
        saying=saying,
        text=text,
        by=by,
    )
    await store.record(word)
    if row.state is SessionState.RUNNING and row.lease is not None:
        return Answered.ON_ITS_WAY
    return await _go_on(store, row)


async def _go_on(store: Store, row: SessionRow) -> Answered:
    submission = Submission.of(row)
    if submission is None or submission.by != "submit":
        return Answered.WAITS
    if row.state is not SessionState.RUNNING:
        await store.update_session(row.session_id, state=SessionState.QUEUED, state_reason="")
    return Answered.QUEUED


async def _has_finished(store: Store, row: SessionRow) -> bool:
    """Whether the session was paused as its agent was about to end its turn."""
    decisions = await store.decisions(row.session_id)
    pauses = [one for one in decisions if one.choice is Choice.ACT and one.action == "pause"]
    return bool(pauses) and pauses[-1].verdict.failure_mode is FailureMode.STOP
