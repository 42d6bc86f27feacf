"""The caller's stream: order, who is held back and who never is, and its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from claude_agent_sdk import Message, SystemMessage

from supervisor.runtime import outbox as module
from supervisor.runtime.outbox import Outbox

pytestmark = pytest.mark.anyio

ROOM = module._READ_AHEAD


def message(name: str) -> SystemMessage:
    return SystemMessage(name, {})


def name_of(one: Message) -> str:
    assert isinstance(one, SystemMessage)
    return one.subtype


async def rest_of(stream: AsyncIterator[Message]) -> list[str]:
    async with asyncio.timeout(5):
        return [name_of(one) async for one in stream]


async def fill(outbox: Outbox) -> None:
    for number in range(ROOM):
        async with asyncio.timeout(5):
            await outbox.put(message(f"sdk {number}"))


async def test_messages_come_out_in_the_order_they_went_in() -> None:
    outbox = Outbox()
    await outbox.put(message("one"))
    outbox.tell(message("lucid's"))
    await outbox.put(message("two"))
    outbox.end()

    assert await rest_of(outbox.read()) == ["one", "lucid's", "two"]


async def test_a_slow_reader_holds_the_sdk_back() -> None:
    outbox = Outbox()
    await fill(outbox)
    held = asyncio.create_task(outbox.put(message("one too many")))
    await asyncio.sleep(0)
    assert not held.done()

    stream = outbox.read()
    assert name_of(await anext(stream)) == "sdk 0"
    async with asyncio.timeout(5):
        await held


async def test_lucids_messages_never_wait_and_take_no_room() -> None:
    outbox = Outbox()
    await fill(outbox)
    for number in range(2 * ROOM):
        outbox.tell(message(f"lucid {number}"))
    held = asyncio.create_task(outbox.put(message("held")))
    stream = outbox.read()
    names = [name_of(await anext(stream)) for _ in range(3 * ROOM)]

    assert names == [f"sdk {n}" for n in range(ROOM)] + [f"lucid {n}" for n in range(2 * ROOM)]
    async with asyncio.timeout(5):
        await held
        assert name_of(await anext(stream)) == "held"
    # Reading Lucid's made no room for the SDK's: as many fit now as at the start.
    await fill(outbox)
    over = asyncio.create_task(outbox.put(message("over")))
    await asyncio.sleep(0)
    assert not over.done()
    over.cancel()
    await asyncio.gather(over, return_exceptions=True)


async def test_an_error_is_raised_once_behind_what_came_before() -> None:
    outbox = Outbox()
    await outbox.put(message("one"))
    outbox.end(ConnectionError("the agent is gone"))
    stream = outbox.read()

    assert name_of(await anext(stream)) == "one"
    with pytest.raises(ConnectionError, match="the agent is gone"):
        await anext(stream)
    assert await rest_of(outbox.read()) == []
    assert await rest_of(outbox.read()) == []


async def test_a_second_reader_ends_too() -> None:
    outbox = Outbox()
    outbox.end()

    assert await rest_of(outbox.read()) == []
    assert await rest_of(outbox.read()) == []


async def test_a_reader_may_stop_and_another_go_on() -> None:
    outbox = Outbox()
    for name in ("one", "two", "three"):
        await outbox.put(message(name))
    outbox.end()
    first = outbox.read()
    assert name_of(await anext(first)) == "one"
    assert isinstance(first, AsyncIterator)

    assert await rest_of(outbox.read()) == ["two", "three"]
