"""`Serving`: the application under uvicorn, beside whatever else the event loop does."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import resource
import socket
import time
from collections.abc import AsyncIterator, Iterator
from typing import cast

import uvicorn
from starlette.types import ASGIApp

from supervisor.service.address import Address
from supervisor.service.heads import Connection, Heads

__all__ = ["allow_connections", "served"]

_MOST_AT_ONCE = 4_000
"""Connections and requests; more are answered with 503. Each agent keeps a connection or two,
and a sidecar follows a thousand and more."""
_TO_FINISH_SECONDS = 2
"""For requests that are under way at the end."""
_LARGEST_HEADERS = 64 * 1024
_TICKS_TO_A_LOOK = 10
"""At connections that owe the head of a request: a second's."""
_IDLE_SECONDS = 75
"""A connection is kept that long between requests: an agent's tool calls are often further
apart than uvicorn's 5 s, and a hook must not meet a connection that is just being closed."""


def allow_connections() -> None:
    """Have this process open as many files as it may: by default it may hardly a thousand,
    and each connection is one."""
    limit, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * _MOST_AT_ONCE
    if most != resource.RLIM_INFINITY:
        wanted = min(wanted, most)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class _Server(uvicorn.Server):
    """Leaves signals to the process, which has more to end than this, and waits for no head
    of a request for ever."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._heads = Heads()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second; returns whether to end."""
        if counter % _TICKS_TO_A_LOOK == 0:
            connections = cast("set[Connection]", self.server_state.connections)
            self._heads.look(connections, time.monotonic())
        return await super().on_tick(counter)


@contextlib.asynccontextmanager
async def served(
    app: ASGIApp, address: Address, listening: socket.socket
) -> AsyncIterator[Address]:
    """Serve on a socket that listens there until the block ends; gives the address, with the
    port that the system chose. Nothing logs what is asked for: a path may hold a token."""
    config = uvicorn.Config(
        app,
        http="h11" if not _has_httptools() else "httptools",
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        log_level=logging.WARNING,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        timeout_keep_alive=_IDLE_SECONDS,
        limit_concurrency=_MOST_AT_ONCE,
        timeout_graceful_shutdown=_TO_FINISH_SECONDS,
        h11_max_incomplete_event_size=_LARGEST_HEADERS,
    )
    logging.getLogger("uvicorn.access").disabled = True  # whatever others set up to be logged
    server = _Server(config)
    running = asyncio.create_task(server.serve([listening]))
    try:
        yield _with_port(address, listening)
    finally:
        server.should_exit = True
        await running
        if address.path is not None:
            address.path.unlink(missing_ok=True)


def _has_httptools() -> bool:
    from importlib.util import find_spec

    return find_spec("httptools") is not None


def _with_port(address: Address, listening: socket.socket) -> Address:
    if address.path is not None:
        return address
    return address._replace(port=listening.getsockname()[1])
