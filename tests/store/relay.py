"""A relay before a PostgreSQL server, which loses what it is told to lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from enum import Enum, auto
from pathlib import Path

__all__ = ["Loss", "Relay", "relay"]

_SOCKET = ".s.PGSQL.5432"
_MUCH = 65_536


class Loss(Enum):
    """What becomes of the next COMMIT."""

    REQUEST = auto()
    """It does not reach the server, and the server sees its client leave."""
    REQUEST_UNSEEN = auto()
    """It does not reach the server, which waits for it."""
    ANSWER = auto()
    """It is carried out, and its client does not hear of it."""


class Relay:
    """Passes on what clients and server say, until a loss is due."""

    def __init__(self, server: Path) -> None:
        self._server = str(server / _SOCKET)
        self._due: Loss | None = None
        self._then_away = False
        self._left_open: list[asyncio.StreamWriter] = []
        self.losses = 0
        self.away = False
        """Whether clients that come are turned away."""

    def lose(self, what: Loss, *, then_away: bool = False) -> None:
        """Cut the connection on which the next COMMIT comes."""
        self._due, self._then_away = what, then_away

    async def close(self) -> None:
        """Let the server see that its clients are gone."""
        for writer in self._left_open:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        """Relay one client's connection."""
        if self.away:
            to_client.close()
            return
        server, to_server = await asyncio.open_unix_connection(self._server)
        self._left_open.append(to_server)
        answers = asyncio.create_task(_copy(server, to_client))
        while data := await _read(client):
            if self._due is not None and b"COMMIT" in data:
                answers.cancel()
                await asyncio.wait([answers])
                await self._lose(data, server, to_server)
                break
            to_server.write(data)
        else:
            to_server.close()
        to_client.close()
        await asyncio.wait([answers])

    async def _lose(
        self, data: bytes, server: asyncio.StreamReader, to_server: asyncio.StreamWriter
    ) -> None:
        what, self._due, self.losses = self._due, None, self.losses + 1
        self.away = self._then_away
        if what is Loss.ANSWER:
            to_server.write(data)
            await server.read(_MUCH)
        if what is not Loss.REQUEST_UNSEEN:
            to_server.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await _read(source):
        target.write(data)
    target.close()


async def _read(source: asyncio.StreamReader) -> bytes:
    try:
        return await source.read(_MUCH)
    except ConnectionError:
        return b""


@asynccontextmanager
async def relay(server: Path, folder: Path) -> AsyncIterator[Relay]:
    """A relay in `folder` to the server whose socket is in the folder `server`."""
    relay = Relay(server)
    listener = await asyncio.start_unix_server(relay.serve, str(folder / _SOCKET))
    try:
        yield relay
    finally:
        listener.close()
        await relay.close()
