"""A session goes on in forks, and its subagents belong to it."""

from __future__ import annotations

import json
from uuid import uuid4

import pytest
from claude_agent_sdk import SessionKey, fork_session_via_store, project_key_for_directory

from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio


def _conversation(session_id: str) -> list[bytes]:
    uuids = [str(uuid4()) for _ in range(4)]
    records = [
        {
            "type": "user" if number % 2 == 0 else "assistant",
            "uuid": uuid,
            "parentUuid": uuids[number - 1] if number else None,
            "sessionId": session_id,
            "isSidechain": False,
            "message": {"role": "user", "content": f"step {number}"},
        }
        for number, uuid in enumerate(uuids)
    ]
    return [json.dumps(record).encode() for record in records]


async def test_the_sdks_fork_is_another_transcript_of_the_same_session(store: Store) -> None:
    source = str(uuid4())
    key = SessionKey(project_key=project_key_for_directory("/work/demo"), session_id=source)
    raws = _conversation(source)
    written = await store.write(key, raws, session_id="supervised")
    cut = written[1].uuid
    fork = await fork_session_via_store(store, source, directory="/work/demo", up_to_message_id=cut)
    entries = [entry async for entry in store.entries("supervised")]
    assert [entry.transcript for entry in entries[:4]] == [source] * 4
    copied = entries[4:]
    assert {entry.transcript for entry in copied} == {fork.session_id}
    assert [entry.inherited for entry in copied] == [True, True, False]  # the last: its title
    assert [entry.seq for entry in copied] == [5, 6, 7]
    assert not {entry.uuid for entry in copied} & {entry.uuid for entry in entries[:4]}
    assert len(await store.sessions()) == 1


async def test_inheritance_can_be_forced_for_a_fork_that_keeps_its_uuids(store: Store) -> None:
    raws = _conversation("s")
    await store.write(SessionKey(project_key="p", session_id="s"), raws)
    fork = SessionKey(project_key="p", session_id="fork")
    copied = await store.write(fork, raws, session_id="s", inherited=True)
    (new,) = await store.write(fork, [b'{"type":"user","forkedFrom":{}}'], inherited=False)
    assert [entry.inherited for entry in copied] == [True] * 4
    assert (new.session_id, new.inherited, new.seq) == ("s", False, 9)


async def test_a_subagents_transcript_belongs_to_its_parents_session(store: Store) -> None:
    main = SessionKey(project_key="p", session_id="sdk")
    nested = SessionKey(project_key="p", session_id="sdk", subpath="subagents/agent-a1")
    await store.write(main, [b'{"type":"x"}'], session_id="supervised")
    (entry,) = await store.write(nested, [b'{"type":"x"}'])
    assert entry.session_id == "supervised"


async def test_a_subagent_that_is_seen_first_brings_its_session(store: Store) -> None:
    main = SessionKey(project_key="p", session_id="sdk")
    nested = SessionKey(project_key="p", session_id="sdk", subpath="subagents/agent-a1")
    await store.write(nested, [b'{"type":"x"}'])
    (entry,) = await store.write(main, [b'{"type":"x"}'])
    assert (entry.session_id, entry.seq) == ("sdk", 2)


async def test_a_fork_of_what_is_not_stored_is_a_session_of_its_own(store: Store) -> None:
    fork = SessionKey(project_key="p", session_id="fork")
    (entry,) = await store.write(fork, [b'{"type":"x","forkedFrom":{"sessionId":"elsewhere"}}'])
    assert (entry.session_id, entry.inherited) == ("fork", True)
