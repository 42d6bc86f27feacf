"""A request's body, read within bounds."""

from __future__ import annotations

import asyncio

from starlette.requests import ClientDisconnect, Request

from supervisor.service.problem import Refused

__all__ = ["body_of"]

_SECONDS = 10.0
"""For a whole body: it comes from this host, or a pod beside this one."""


async def body_of(request: Request, most: int) -> bytes:
    """The body, of at most so many bytes: of a larger one no more is read than shows that it
    is. Raises `Refused`."""
    if _announced(request) > most:
        raise _too_large(most)
    try:
        async with asyncio.timeout(_SECONDS):
            return await _read(request, most)
    except TimeoutError as error:
        raise Refused(408, f"the body did not come within {_SECONDS:g} s", _CLOSE) from error
    except ClientDisconnect as error:
        raise Refused(400, "the client left before its body was read") from error


async def _read(request: Request, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > most:
            raise _too_large(most)
        parts.append(part)
    return b"".join(parts)


_CLOSE = {"connection": "close"}


def _too_large(most: int) -> Refused:
    return Refused(413, f"a body has {most} bytes at most", _CLOSE)


def _announced(request: Request) -> int:
    text = request.headers.get("content-length", "0")
    return int(text) if text.isascii() and text.isdecimal() else 0
