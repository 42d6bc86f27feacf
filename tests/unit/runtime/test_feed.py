"""The agent's input: in order, whole, and over a change of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from supervisor.runtime.feed import Feed, user_message

pytestmark = pytest.mark.anyio


class Caller:
    """A caller whose prompts come when the test says so."""

    def __init__(self) -> None:
        self.prompts: asyncio.Queue[str | None] = asyncio.Queue()
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    async def stream(self) -> AsyncIterator[dict[str, Any]]:
        while (text := await self.prompts.get()) is not None:
            yield user_message(text)


async def as_it_is(message: dict[str, Any]) -> dict[str, Any]:
    return message


def text_of(message: dict[str, Any]) -> str:
    text = message["message"]["content"]
    assert isinstance(text, str)
    return text


@asynccontextmanager
async def feeding() -> AsyncIterator[tuple[Caller, Feed]]:
    caller = Caller()
    feed = Feed(caller.stream(), caller.begin, as_it_is)
    try:
        yield caller, feed
    finally:
        await feed.close()


async def next_of(stream: AsyncIterator[dict[str, Any]]) -> str:
    async with asyncio.timeout(5):
        return text_of(await anext(stream))


async def rest_of(stream: AsyncIterator[dict[str, Any]]) -> list[str]:
    async with asyncio.timeout(5):
        return [text_of(message) async for message in stream]


async def test_the_callers_prompts_and_lucids_come_in_order() -> None:
    async with feeding() as (caller, feed):
        stream = feed.messages()
        caller.prompts.put_nowait("one")
        assert await next_of(stream) == "one"
        await feed.say(user_message("lucid's"))
        caller.prompts.put_nowait("two")
        assert [await next_of(stream), await next_of(stream)] == ["lucid's", "two"]
        assert caller.begun == 2, "a prompt of Lucid's begins no turn of the caller's"


async def test_nothing_is_lost_and_nothing_repeated_when_the_reader_changes() -> None:
    async with feeding() as (caller, feed):
        first = feed.messages()
        for text in ("one", "two", "three"):
            caller.prompts.put_nowait(text)
        assert await next_of(first) == "one"

        second = feed.messages()
        assert await next_of(second) == "two"
        assert await rest_of(first) == [], "the former reader's stream has ended"
        assert await next_of(second) == "three"


async def test_a_reader_that_waits_gives_way_to_the_next() -> None:
    async with feeding() as (caller, feed):
        waiting = asyncio.create_task(rest_of(feed.messages()))
        await asyncio.sleep(0)
        second = feed.messages()
        caller.prompts.put_nowait("for the second")

        assert await next_of(second) == "for the second"
        assert await waiting == []


async def test_a_reader_that_is_cancelled_takes_nothing_with_it() -> None:
    async with feeding() as (caller, feed):
        waiting = asyncio.create_task(next_of(feed.messages()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        caller.prompts.put_nowait("kept")

        assert await next_of(feed.messages()) == "kept"


async def test_it_ends_after_what_is_queued() -> None:
    async with feeding() as (_, feed):
        await feed.say(user_message("last words"))
        await feed.end()

        assert await rest_of(feed.messages()) == ["last words"]
        assert await rest_of(feed.messages()) == []


async def test_the_end_wakes_a_reader_that_waits() -> None:
    async with feeding() as (_, feed):
        waiting = asyncio.create_task(rest_of(feed.messages()))
        await asyncio.sleep(0)
        await feed.end()

        assert await waiting == []


async def test_it_does_not_end_by_itself_when_the_caller_has_no_more() -> None:
    async with feeding() as (caller, feed):
        caller.prompts.put_nowait(None)
        async with asyncio.timeout(5):
            await feed.exhausted.wait()
        stream = feed.messages()
        await feed.say(user_message("there may be a correction yet"))

        assert await next_of(stream) == "there may be a correction yet"


async def test_a_callers_stream_that_raises_counts_as_exhausted() -> None:
    async def failing() -> AsyncIterator[dict[str, Any]]:
        yield user_message("one")
        raise OSError("the line went dead")

    feed = Feed(failing(), lambda: None, as_it_is)
    try:
        async with asyncio.timeout(5):
            await feed.exhausted.wait()
        assert await next_of(feed.messages()) == "one"
    finally:
        await feed.close()


async def test_closing_stops_the_callers_stream() -> None:
    async with feeding() as (caller, feed):
        caller.prompts.put_nowait("one")
        assert await next_of(feed.messages()) == "one"
        await feed.close()
        caller.prompts.put_nowait("too late")
        await asyncio.sleep(0)

        assert caller.begun == 1
        assert feed.exhausted.is_set()
