"""`Heads`: requests whose head does not come.

uvicorn has a time-out between requests, and none for a request that was begun, or never is: a
client that sends a byte a minute keeps its connection, and a few thousand of them would keep
everybody else out.
"""

from __future__ import annotations

from asyncio import TimerHandle, Transport
from collections.abc import Iterable
from typing import Protocol

from supervisor.metrics import METRICS

__all__ = ["HEAD_SECONDS", "Connection", "Cycle", "Heads"]

HEAD_SECONDS = 10.0
"""For a whole head, as for a body: it comes from this host, or a pod beside this one."""

_REFUSAL = (
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\n"
    b"content-type: application/problem+json\r\ncontent-length: %d\r\n\r\n%b"
)
_SAID = b'{"status":408,"title":"Request Timeout","detail":"the head of the request did not come"}'


class Cycle(Protocol):
    """A request that is being answered."""

    response_complete: bool


class Connection(Protocol):
    """What uvicorn's protocols have in common, h11's and httptools'."""

    @property
    def cycle(self) -> Cycle | None:
        """The newest request whose head has come."""

    @property
    def timeout_keep_alive_task(self) -> TimerHandle | None:
        """Runs while nothing has come since the last answer."""

    @property
    def transport(self) -> Transport:
        """Where it is written to."""


class Heads:
    """Ends connections that owe a head for too long. It looks at all of them now and then, so
    that a request costs nothing more."""

    def __init__(self) -> None:
        self._owed: dict[tuple[Connection, Cycle | None], float] = {}
        """Since when, and behind which request."""

    def look(self, connections: Iterable[Connection], now: float) -> None:
        """End those that have owed a head for `HEAD_SECONDS` by `now`, on a monotonic clock."""
        owing = [(one, one.cycle) for one in connections if _owes_a_head(one)]
        self._owed = {one: self._owed.get(one, now) for one in owing}
        for (connection, _), since in self._owed.items():
            if now - since >= HEAD_SECONDS and not connection.transport.is_closing():
                _refuse(connection.transport)


def _owes_a_head(connection: Connection) -> bool:
    cycle = connection.cycle
    if cycle is None:
        return True
    return cycle.response_complete and connection.timeout_keep_alive_task is None


def _refuse(transport: Transport) -> None:
    METRICS.http_requests.labels("other", "408").inc()
    transport.write(_REFUSAL % (len(_SAID), _SAID))
    transport.close()
