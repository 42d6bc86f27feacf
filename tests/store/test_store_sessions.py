"""Sessions are created, changed, listed and found by what a person types."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.session import SessionState
from supervisor.errors import TranscriptError
from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio


async def test_a_session_is_created_with_what_is_known(store: Store) -> None:
    before = datetime.now(UTC)
    row = await store.create_session(
        "s",
        project_key="p",
        head="sdk",
        objective="do it",
        cwd="/work",
        policy="version: 1",
        submission='{"model":"m"}',
    )
    assert row == await store.session("s")
    assert (row.project_key, row.head, row.objective) == ("p", "sdk", "do it")
    assert (row.cwd, row.policy, row.state) == ("/work", "version: 1", SessionState.RUNNING)
    assert row.submission == '{"model":"m"}'
    assert before - timedelta(seconds=1) <= row.created_at == row.updated_at <= datetime.now(UTC)
    assert (row.entries, row.verdicts, row.interventions) == (0, 0, 0)


async def test_creating_a_session_again_leaves_it_as_it_is(store: Store) -> None:
    first = await store.create_session("s", project_key="p", objective="one")
    assert await store.create_session("s", project_key="q", objective="two") == first


async def test_an_update_sets_what_is_given(store: Store) -> None:
    await store.create_session("s", project_key="p", objective="one")
    await store.update_session("s", state=SessionState.REACHED, state_reason="done", head="fork")
    row = await store.session("s")
    assert (row.state, row.state_reason) == (SessionState.REACHED, "done")
    assert (row.head, row.objective, row.submission) == ("fork", "one", None)
    await store.update_session("s", submission="{}")
    assert (await store.session("s")).submission == "{}"


async def test_an_objective_that_utf8_cannot_hold_is_kept_as_far_as_it_can(store: Store) -> None:
    await store.create_session("s", project_key="p")
    await store.update_session("s", objective="cut \ud83d")
    assert (await store.session("s")).objective == "cut ?"


async def test_writing_makes_a_session_and_moves_it_to_the_front(store: Store) -> None:
    await store.write(SessionKey(project_key="p", session_id="one"), [b"{}", b"{}"])
    await store.write(SessionKey(project_key="p", session_id="two"), [b"{}"])
    await store.write(SessionKey(project_key="p", session_id="one"), [b"{}"])
    rows = await store.sessions()
    assert [(row.session_id, row.head, row.entries) for row in rows] == [
        ("one", "one", 3),
        ("two", "two", 1),
    ]
    assert [row.session_id for row in await store.sessions(limit=1)] == ["one"]


async def test_sessions_are_listed_on_from_one_of_them_also_among_equal_times(
    store: Store,
) -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    for number in range(5):
        row = await store.create_session(f"s{number}", project_key="p")
        changed = at + timedelta(days=number // 3)  # three of one time, then two of another
        await store.restore(msgspec.structs.replace(row, updated_at=changed))

    seen = await store.sessions(limit=2)
    while part := await store.sessions(2, before=(seen[-1].updated_at, seen[-1].session_id)):
        seen += part

    assert [row.session_id for row in seen] == ["s4", "s3", "s2", "s1", "s0"]
    assert [row.session_id for row in await store.sessions(before=(at, "gone"))] == []


async def test_a_session_is_found_by_the_beginning_of_its_id(store: Store) -> None:
    for session_id in ("abc-1", "abc-2", "abd-1"):
        await store.create_session(session_id, project_key="p")
    assert (await store.session("abd")).session_id == "abd-1"
    with pytest.raises(TranscriptError, match=r"several sessions begin with 'abc': abc-1, abc-2"):
        await store.session("abc")


async def test_an_id_wins_over_longer_ids_that_begin_with_it(store: Store) -> None:
    for session_id in ("abc", "abc-2"):
        await store.create_session(session_id, project_key="p")
    assert (await store.session("abc")).session_id == "abc"


async def test_a_session_is_found_by_the_id_of_one_of_its_transcripts(store: Store) -> None:
    fork = SessionKey(project_key="p", session_id="fork-1234")
    await store.write(fork, [b"{}"], session_id="supervised")
    assert (await store.session("fork-12")).session_id == "supervised"


@pytest.mark.parametrize("wanted", ["abx", "", "%", "a_c"])
async def test_an_unknown_session_names_the_nearest(store: Store, wanted: str) -> None:
    await store.create_session("abc", project_key="p")
    with pytest.raises(TranscriptError, match=f"no session '{wanted}'; the nearest are abc"):
        await store.session(wanted)


async def test_an_unknown_session_cannot_be_changed(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'; the store holds none yet"):
        await store.update_session("nope", state=SessionState.CLOSED)


async def test_a_session_goes_with_its_last_transcript(store: Store) -> None:
    one = SessionKey(project_key="p", session_id="one")
    two = SessionKey(project_key="p", session_id="two")
    await store.write(one, [b"{}"], session_id="s")
    await store.write(two, [b"{}"], session_id="s")
    await store.delete(one)
    assert (await store.session("s")).session_id == "s"
    await store.delete(two)
    with pytest.raises(TranscriptError):
        await store.session("s")
    await store.delete(two)
