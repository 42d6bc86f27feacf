"""What a person's answer does to a session that runs, waits or has ended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.session import SessionState
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.core.word import Saying
from supervisor.errors import SupervisorError
from supervisor.runtime.answering import Answered, answer
from supervisor.runtime.submission import Submission
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

SUBMITTED = Submission().text
RUN = Submission(by="run").text


@pytest.fixture
async def store() -> AsyncIterator[SqliteStore]:
    async with SqliteStore() as store:
        yield store


async def session(
    store: SqliteStore, state: SessionState, submission: str | None = SUBMITTED
) -> SessionRow:
    await store.create_session("s", project_key="p", submission=submission, state=state)
    return await store.session("s")


def paused_on(mode: FailureMode) -> Decision:
    verdict = Verdict(
        session_id="s",
        transcript="t",
        seq=1,
        onset_seq=1,
        detector="d",
        failure_mode=mode,
        severity=Severity.INFO,
        confidence=1.0,
        summary="",
        evidence=Evidence(entries=(1,)),
    )
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return Decision(
        id="d",
        session_id="s",
        seq=1,
        at=now,
        verdict=verdict,
        choice=Choice.ACT,
        reason="",
        rule="r",
        action="pause",
    )


@pytest.mark.parametrize("saying", [Saying.APPROVE, Saying.REJECT])
async def test_a_submitted_session_that_waits_is_queued(store: SqliteStore, saying: Saying) -> None:
    row = await session(store, SessionState.PAUSED)

    assert await answer(store, row, saying, "because", by="me") is Answered.QUEUED

    assert (await store.session("s")).state is SessionState.QUEUED
    (word,) = await store.words("s")
    assert (word.saying, word.text, word.by) == (saying, "because", "me")


@pytest.mark.parametrize("submission", [RUN, None])
async def test_a_session_that_no_worker_has_the_options_of_waits_for_whoever_resumes_it(
    store: SqliteStore, submission: str | None
) -> None:
    row = await session(store, SessionState.PAUSED, submission)

    assert await answer(store, row, Saying.SAY, "Go.") is Answered.WAITS
    assert (await store.session("s")).state is SessionState.PAUSED


async def test_what_was_done_when_it_paused_is_reached_by_approval_without_words(
    store: SqliteStore,
) -> None:
    row = await session(store, SessionState.PAUSED)
    await store.record(paused_on(FailureMode.STOP).verdict, paused_on(FailureMode.STOP))

    assert await answer(store, row, Saying.APPROVE, by="me") is Answered.FINISHED

    row = await store.session("s")
    assert (row.state, row.state_reason) == (SessionState.REACHED, "approved by me")
    assert await store.words("s") == []


async def test_approval_with_words_or_in_the_midst_of_the_work_has_it_go_on(
    store: SqliteStore,
) -> None:
    row = await session(store, SessionState.PAUSED)
    await store.record(paused_on(FailureMode.LOOP).verdict, paused_on(FailureMode.LOOP))

    assert await answer(store, row, Saying.APPROVE) is Answered.QUEUED
    (word,) = await store.words("s")
    assert word.told == "A person has looked at your work and approves of it: go on with the task."


async def test_a_running_session_is_told_on_its_way(store: SqliteStore) -> None:
    await session(store, SessionState.RUNNING)
    await store.acquire_lease("s", owner="worker", ttl=timedelta(minutes=1))

    said = await answer(store, await store.session("s"), Saying.SAY, "Use port 8080.")

    assert said is Answered.ON_ITS_WAY
    assert (await store.session("s")).state is SessionState.RUNNING


async def test_a_session_that_ended_goes_on_with_what_it_is_told(store: SqliteStore) -> None:
    row = await session(store, SessionState.REACHED)

    assert await answer(store, row, Saying.SAY, "And the tests?") is Answered.QUEUED


@pytest.mark.parametrize("state", [SessionState.RUNNING, SessionState.REACHED])
async def test_what_does_not_wait_is_neither_approved_nor_rejected(
    store: SqliteStore, state: SessionState
) -> None:
    row = await session(store, state)

    with pytest.raises(SupervisorError, match=f"waits for nobody: it is {state}"):
        await answer(store, row, Saying.REJECT)
