"""A stop is decided on when the transcript holds the words that the agent ends its turn with."""

from __future__ import annotations

import asyncio

import pytest

from supervisor.core.entry import Text
from supervisor.runtime.progress import Progress

pytestmark = pytest.mark.anyio


def says(seq: int) -> Text:
    return Text(session_id="s", transcript="t", seq=seq, text="It is done.")


async def test_the_same_words_at_another_stop_are_waited_for_again() -> None:
    progress = Progress()
    progress.announce(says(1))
    assert await progress.heard("It is done.", within=0.0)

    assert await progress.heard("It is done.", within=0.0)
    assert not await progress.heard("It is done.", within=0.0, anew=True)

    waiting = asyncio.create_task(progress.heard("It is done.", within=10.0, anew=True))
    await asyncio.sleep(0)
    progress.announce(says(2))
    assert await waiting
