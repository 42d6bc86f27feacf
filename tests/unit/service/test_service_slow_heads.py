"""Clients that do not get a request's head out are not waited for; others are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest

from supervisor.metrics import METRICS
from supervisor.service import heads, serving
from tests.unit.service.conftest import TOKEN, Running

pytestmark = pytest.mark.anyio

WHOLE = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
HALF = WHOLE[:-4]


@pytest.fixture(autouse=True)
def _in_a_hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HEAD_SECONDS", 0.3)
    monkeypatch.setattr(serving, "_TICKS_TO_A_LOOK", 1)


def counted() -> float:
    return float(METRICS.http_requests.labels("other", "408")._value.get())


class Client:
    """A connection, byte by byte."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    def send(self, data: bytes) -> None:
        self._writer.write(data)

    async def answer(self) -> bytes:
        """The status line of one answer, whose rest is read."""
        head = await self._reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await self._reader.readexactly(length)
        return head.partition(b"\r\n")[0]

    async def is_closed(self) -> bool:
        return await self._reader.read() == b""


@asynccontextmanager
async def client(running: Running) -> AsyncIterator[Client]:
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", running.address.port)
        with closing(writer):
            yield Client(reader, writer)


@pytest.mark.parametrize("sent", [b"", b"G", HALF])
async def test_a_head_that_does_not_come_is_not_waited_for(running: Running, sent: bytes) -> None:
    before = counted()
    async with client(running) as slow:
        slow.send(sent)
        assert await slow.answer() == b"HTTP/1.1 408 Request Timeout"
        assert await slow.is_closed()
    assert counted() == before + 1


async def test_a_byte_now_and_then_does_not_help(running: Running) -> None:
    async with client(running) as slow:

        async def drip() -> None:
            for byte in HALF:
                slow.send(bytes([byte]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert await slow.answer() == b"HTTP/1.1 408 Request Timeout"
        dripping.cancel()


async def test_the_next_head_on_a_connection_is_not_waited_for_either(running: Running) -> None:
    async with client(running) as slow:
        slow.send(WHOLE + HALF)
        assert await slow.answer() == b"HTTP/1.1 200 OK"
        slow.send(b"\r\nX-More: ")
        assert await slow.answer() == b"HTTP/1.1 408 Request Timeout"


async def test_a_connection_may_rest_between_requests(running: Running) -> None:
    async with client(running) as calm:
        for _ in range(2):
            calm.send(WHOLE)
            assert await calm.answer() == b"HTTP/1.1 200 OK"
            await asyncio.sleep(0.6)


async def test_one_that_is_slow_again_and_again_has_its_time_each_time(running: Running) -> None:
    async with client(running) as slow:
        for _ in range(4):
            slow.send(HALF)
            await asyncio.sleep(0.12)
            slow.send(WHOLE[-4:])
            assert await slow.answer() == b"HTTP/1.1 200 OK"


async def test_an_answer_may_take_longer(running: Running) -> None:
    before = counted()
    async with client(running) as listening:
        listening.send(
            b"GET /api/v1/events HTTP/1.1\r\nHost: localhost\r\n"
            b"Authorization: Bearer " + TOKEN.encode() + b"\r\n\r\n"
        )
        await asyncio.sleep(0.6)
        assert counted() == before
