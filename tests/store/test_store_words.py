"""What people say to sessions is kept until their agents got it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from supervisor.core.word import Heard, Saying, Word
from supervisor.errors import TranscriptError
from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def word(name: str, saying: Saying = Saying.SAY, text: str = "Use port 8080.") -> Word:
    return Word(session_id="s", id=name, at=NOW, saying=saying, text=text, by="me@host")


async def test_words_come_back_in_order_until_they_are_heard(store: Store) -> None:
    await store.create_session("s", project_key="p")
    words = [word("b"), word("a", Saying.REJECT, ""), word("c", text="half \ud800 a character")]
    await store.record(*words, word("b", text="said otherwise"))

    assert [(one.id, one.saying) for one in await store.words("s")] == [
        ("b", "say"),
        ("a", "reject"),
        ("c", "say"),
    ]
    assert (await store.words("s"))[0] == words[0]

    await store.record(Heard(session_id="s", word_id="b", at=NOW))
    await store.record(Heard(session_id="s", word_id="b", at=NOW))
    assert [one.id for one in await store.words("s")] == ["a", "c"]


async def test_nothing_can_be_said_to_a_session_that_is_not_there(store: Store) -> None:
    with pytest.raises(TranscriptError):
        await store.record(word("a"))
    with pytest.raises(TranscriptError):
        await store.words("s")


async def test_words_go_with_their_session(store: Store) -> None:
    await store.create_session("s", project_key="p")
    await store.record(word("a"), Heard(session_id="s", word_id="a", at=NOW))
    lease = await store.acquire_lease("s", owner="me", ttl=NOW - NOW.replace(hour=11))

    await store.delete_session(lease)

    with pytest.raises(TranscriptError):
        await store.words("s")
