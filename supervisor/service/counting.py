"""Every request is counted, refused ones too; a log line holds no path that was sent."""

from __future__ import annotations

import logging
import time
from functools import cache

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from supervisor.metrics import METRICS

__all__ = ["Counting", "area_of"]

log = logging.getLogger(__name__)

_requests = cache(METRICS.http_requests.labels)
_AREAS = {"hooks", "metrics", "healthz", "readyz", "api"}


def area_of(path: str) -> str:
    """Which part of the service a path belongs to: a closed set, for a label.

    >>> [area_of(path) for path in ("/hooks/token", "/api/v1/sessions", "/../x", "/")]
    ['hooks', 'api', 'other', 'other']
    """
    first = path.removeprefix("/").partition("/")[0]
    return first if first in _AREAS else "other"


class Counting:
    """Counts requests by area and status."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        area = area_of(scope["path"])
        began = time.perf_counter()

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = int(message["status"])
                _requests(area, str(status)).inc()
                log.debug("%s %d %.1f ms", area, status, (time.perf_counter() - began) * 1000)
            await send(message)

        await self._app(scope, receive, counted)
