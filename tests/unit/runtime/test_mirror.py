"""The session store that the SDK sees: taken by Lucid, passed on to the caller's."""

from __future__ import annotations

from typing import cast

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    InMemorySessionStore,
    SessionKey,
    SessionStore,
    SessionStoreEntry,
)
from claude_agent_sdk._internal.session_store_validation import validate_session_store_options

from supervisor.errors import StoreError
from supervisor.runtime.mirror import Mirror
from tests.unit.runtime.conftest import MAIN, PROJECT, Transcript

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key=PROJECT, session_id=MAIN)


class Taking:
    """Lucid's end: what was taken, and whether it can be."""

    def __init__(self) -> None:
        self.taken: list[tuple[SessionKey, list[SessionStoreEntry]]] = []
        self.fails = False

    async def __call__(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if self.fails:
            raise StoreError("the disk is full")
        self.taken.append((key, list(entries)))


class Failing(InMemorySessionStore):
    """A caller's store that fails at first."""

    fails = True

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        if self.fails:
            raise ConnectionError("the caller's database is away")
        await super().append(key, entries)


class Minimal:
    """A caller's store with no more than the SDK asks for."""

    def __init__(self) -> None:
        self.kept: list[SessionStoreEntry] = []

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        self.kept += entries

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        return self.kept


@pytest.fixture
def entries(transcript: Transcript) -> list[SessionStoreEntry]:
    transcript.prompt()
    transcript.text("Done.")
    return transcript.entries


async def test_entries_go_to_lucid_and_to_the_callers_store(
    entries: list[SessionStoreEntry],
) -> None:
    taking, theirs = Taking(), InMemorySessionStore()
    await Mirror(taking, theirs).append(KEY, entries)

    assert taking.taken == [(KEY, entries)]
    assert await theirs.load(KEY) == entries


async def test_a_repeated_call_is_not_taken_twice(entries: list[SessionStoreEntry]) -> None:
    """The SDK repeats a call that raised, with the same list."""
    taking, theirs = Taking(), Failing()
    mirror = Mirror(taking, theirs)
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await mirror.append(KEY, entries)
    theirs.fails = False
    await mirror.append(KEY, entries)

    assert len(taking.taken) == 1
    assert await theirs.load(KEY) == entries


async def test_what_lucid_could_not_take_is_not_passed_on_before_it_is_taken(
    entries: list[SessionStoreEntry],
) -> None:
    taking, theirs = Taking(), InMemorySessionStore()
    mirror = Mirror(taking, theirs)
    taking.fails = True
    with pytest.raises(StoreError):
        await mirror.append(KEY, entries)
    assert await theirs.load(KEY) is None

    taking.fails = False
    await mirror.append(KEY, entries)
    assert taking.taken == [(KEY, entries)]
    assert await theirs.load(KEY) == entries


async def test_equal_entries_in_another_list_are_taken(entries: list[SessionStoreEntry]) -> None:
    """Whether they are new is the store's to say."""
    taking = Taking()
    mirror = Mirror(taking, None)
    await mirror.append(KEY, entries)
    await mirror.append(KEY, list(entries))

    assert len(taking.taken) == 2


async def test_what_is_resumed_comes_from_the_callers_store(
    entries: list[SessionStoreEntry],
) -> None:
    theirs = InMemorySessionStore()
    sub = SessionKey(project_key=PROJECT, session_id=MAIN, subpath="subagents/agent-a")
    await theirs.append(KEY, entries)
    await theirs.append(sub, entries)
    mirror = Mirror(Taking(), theirs)

    assert await mirror.load(KEY) == entries
    assert [listed["session_id"] for listed in await mirror.list_sessions(PROJECT)] == [MAIN]
    subkeys = await mirror.list_subkeys({"project_key": PROJECT, "session_id": MAIN})
    assert subkeys == ["subagents/agent-a"]


async def test_without_a_store_of_the_callers_the_sdk_is_sent_to_the_local_files() -> None:
    mirror = Mirror(Taking(), None)

    assert await mirror.load(KEY) is None
    assert await mirror.list_sessions(PROJECT) == []
    assert await mirror.list_subkeys({"project_key": PROJECT, "session_id": MAIN}) == []


async def test_a_store_without_optional_methods_will_do(
    entries: list[SessionStoreEntry],
) -> None:
    theirs = Minimal()
    mirror = Mirror(Taking(), cast("SessionStore", theirs))
    await mirror.append(KEY, entries)

    assert await mirror.load(KEY) == entries
    assert await mirror.list_subkeys({"project_key": PROJECT, "session_id": MAIN}) == []


def test_the_sdk_takes_it_for_a_session_store() -> None:
    store = cast("SessionStore", Mirror(Taking(), None))
    options = ClaudeAgentOptions(
        session_store=store, session_store_flush="eager", continue_conversation=True
    )
    validate_session_store_options(options)  # raises where it would be refused
