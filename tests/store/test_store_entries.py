"""Entries are kept verbatim, once, and numbered without gaps."""

from __future__ import annotations

import asyncio
import json
import random
from typing import TYPE_CHECKING, Any

import pytest
from claude_agent_sdk import SessionKey

from supervisor.errors import TranscriptError
from supervisor.store.interface import Store, StoredEntry

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")
SUBAGENT = SessionKey(project_key="p", session_id="s", subpath="subagents/agent-a1")


def _raw(uuid: str | None = None, **fields: object) -> bytes:
    record = fields if uuid is None else {"uuid": uuid, **fields}
    return json.dumps({"type": "x", **record}).encode()


async def _all(store: Store, session_id: str = "s", **options: Any) -> list[StoredEntry]:
    return [entry async for entry in store.entries(session_id, **options)]


async def test_raw_lines_come_back_byte_by_byte(store: Store) -> None:
    noise = random.Random(1).randbytes(20_000)
    raws = [
        b'{"type":"user",  "uuid":"a"}',
        b'{"type": "user", "text": "' + b"long " * 5_000 + b'"}',
        b"{not json",
        b"\xff\xfe\x00",
        b"[]",
        noise,
        '{"type":"é"}\r'.encode(),
    ]
    written = await store.write(KEY, raws)
    assert [entry.raw for entry in written] == raws
    assert await _all(store) == written
    assert await store.load(KEY) == [
        {"type": "user", "uuid": "a"},
        {"type": "user", "text": "long " * 5_000},
        {"type": "é"},
    ]


@pytest.mark.parametrize(
    "value",
    [
        "\ud83d alone",
        "whole \U0001f600, é, \u2028, \0, \x1b",
        123456789012345678901234567890,
        -0.0,
        1e-320,
        1.7976931348623157e308,
        float("inf"),
        {"": {"\ud800": [None, True, 1, 1.0, "1"]}},
    ],
)
async def test_what_json_can_say_comes_back_equal(store: Store, value: object) -> None:
    entry: Any = {"type": "x", "uuid": "u", "value": value}
    await store.append(KEY, [entry])
    loaded: Any = await store.load(KEY)
    assert loaded == [entry]
    assert repr(loaded) == repr([entry])


async def test_a_stored_entry_knows_its_place(store: Store) -> None:
    await store.write(KEY, [_raw("a"), _raw()])
    (entry,) = await store.write(SUBAGENT, [_raw("a")])
    assert entry == StoredEntry(
        session_id="s",
        seq=3,
        project_key="p",
        transcript="s",
        subpath="subagents/agent-a1",
        uuid="a",
        raw=_raw("a"),
    )
    main, nameless, nested = await _all(store)
    assert nested == entry
    assert (main.agent_id, nameless.uuid, nested.agent_id) == (None, None, "a1")


async def test_an_entry_known_by_its_uuid_is_kept_once_in_its_transcript(store: Store) -> None:
    await store.write(KEY, [_raw("a", n=1), _raw("b"), _raw("a", n=2)])
    assert await store.write(KEY, [_raw("b")]) == []
    (new,) = await store.write(KEY, [_raw("b"), _raw("c")])
    assert (new.seq, new.uuid) == (3, "c")
    assert [entry.raw for entry in await _all(store)] == [_raw("a", n=1), _raw("b"), _raw("c")]
    assert len(await store.write(SUBAGENT, [_raw("a")])) == 1


async def test_entries_without_a_uuid_are_kept_each_time(store: Store) -> None:
    await store.write(KEY, [_raw(), _raw()])
    await store.write(KEY, [_raw()])
    assert [entry.seq for entry in await _all(store)] == [1, 2, 3]


async def test_a_file_read_twice_is_kept_once(store: Store) -> None:
    raws, offsets = [_raw(), _raw("a"), b"{broken", _raw()], [0, 20, 40, 50]
    assert len(await store.write(KEY, raws, offsets=offsets)) == 4
    assert await store.write(KEY, raws, offsets=offsets) == []
    grown = await store.write(KEY, [*raws, _raw()], offsets=[*offsets, 90])
    assert [entry.seq for entry in grown] == [5]
    replaced = await store.write(KEY, [_raw(mode="plan")], offsets=[0])
    assert [entry.seq for entry in replaced] == [6]


async def test_a_write_repeated_under_its_name_is_kept_once(store: Store) -> None:
    raws = [_raw(), _raw("a"), _raw(), b"{broken"]
    assert len(await store.write(KEY, raws[:2], batch="one")) == 2
    assert [entry.seq for entry in await store.write(KEY, raws, batch="one")] == [3, 4]
    assert await store.write(KEY, raws, batch="one") == []
    assert [entry.seq for entry in await store.write(KEY, raws, batch="two")] == [5, 6, 7]
    assert len(await store.write(SUBAGENT, raws, batch="one")) == 4


@pytest.mark.parametrize("uuid", [5, None, "", "\ud800", "a\0b", "a" * 10_000, ["a"]])
async def test_a_uuid_that_is_none_is_no_identity(store: Store, uuid: object) -> None:
    raw = json.dumps({"type": "x", "uuid": uuid}).encode()
    await store.write(KEY, [raw, raw])
    assert [entry.uuid for entry in await _all(store)] == [None, None]


async def test_a_uuid_is_found_in_a_line_that_holds_a_lone_surrogate(store: Store) -> None:
    raw = rb'{"type":"x","uuid":"a","forkedFrom":{"sessionId":"f"},"text":"\ud800 cut"}'
    (entry,) = await store.write(KEY, [raw, raw])
    assert (entry.uuid, entry.inherited) == ("a", True)


async def test_writing_nothing_makes_nothing(store: Store) -> None:
    assert await store.write(KEY, []) == []
    assert await store.load(KEY) is None
    assert await store.sessions() == []


async def test_entries_are_read_on_from_a_number_and_by_transcript(store: Store) -> None:
    fork = SessionKey(project_key="p", session_id="fork")
    await store.write(KEY, [_raw("a"), _raw("b")])
    await store.write(fork, [_raw("c")], session_id="s")
    await store.write(SUBAGENT, [_raw("d")])
    assert [entry.seq for entry in await _all(store, after=2)] == [3, 4]
    assert [entry.seq for entry in await _all(store, transcript="s")] == [1, 2, 4]
    assert [entry.seq for entry in await _all(store, after=1, transcript="fork")] == [3]


async def test_a_long_session_is_read_in_order_over_many_batches(store: Store) -> None:
    await store.write(KEY, [_raw(str(number)) for number in range(1_300)])
    await store.write(KEY, [_raw(text="x" * 3_000_000), _raw(text="y" * 3_000_000), _raw("last")])
    entries = await _all(store)
    assert [entry.seq for entry in entries] == list(range(1, 1_304))
    assert entries[-1].uuid == "last"


async def test_entries_of_an_unknown_session_are_an_error(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'; the store holds none yet"):
        await _all(store, "nope")


async def test_numbers_have_no_gaps_when_many_write_at_once(backend: Backend) -> None:
    one = await backend.fresh()
    two = await backend.again(one)

    async def writer(store: Store, name: str) -> list[int]:
        seqs: list[int] = []
        for number in range(12):
            shared, own = _raw(f"shared-{number}"), _raw(f"{name}-{number}")
            seqs += [entry.seq for entry in await store.write(KEY, [shared, own])]
        return seqs

    stores = [one, two] * 3
    seqs = await asyncio.gather(*(writer(s, f"w{n}") for n, s in enumerate(stores)))
    assert sorted(seq for part in seqs for seq in part) == list(range(1, 12 * 7 + 1))
    assert [entry.seq for entry in await _all(two)] == list(range(1, 12 * 7 + 1))


async def test_two_stores_on_the_same_data_see_each_others_entries(backend: Backend) -> None:
    one = await backend.fresh()
    two = await backend.again(one)
    await one.write(KEY, [_raw("a")])
    assert await two.write(KEY, [_raw("a")]) == []
    await two.write(KEY, [_raw("b")])
    assert [entry.uuid for entry in await _all(one)] == ["a", "b"]


async def test_many_transcripts_written_at_once_become_as_many_sessions(backend: Backend) -> None:
    one = await backend.fresh()
    two = await backend.again(one)
    keys = [SessionKey(project_key=f"p{n}", session_id="same") for n in range(6)]
    await asyncio.gather(*(store.write(key, [_raw("a")]) for key in keys for store in (one, two)))
    assert sorted(row.session_id for row in await one.sessions()) == [
        "same",
        *(f"same-{number}" for number in range(2, 7)),
    ]
    assert all(row.entries == 1 for row in await one.sessions())


async def test_deleting_keeps_the_numbers_of_the_rest(store: Store) -> None:
    await store.write(KEY, [_raw("a")])
    await store.write(SUBAGENT, [_raw("b"), _raw("c")])
    await store.delete(SUBAGENT)
    (entry,) = await store.write(KEY, [_raw("d")])
    assert entry.seq == 4
    assert [entry.seq for entry in await _all(store)] == [1, 4]
