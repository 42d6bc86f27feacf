"""`DatabaseThread`: the one thread that all SQL of a SQLite store runs in."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

__all__ = ["DatabaseThread", "Join"]

_T = TypeVar("_T")

_JOINED_AT_MOST = 256
"""Writes in one transaction, so that the first of them does not wait long for the last."""

Join = Callable[[Sequence[Callable[[], object]]], Sequence[object]]
"""Carries out several writes, durable together when it returns; returns what each came to,
a value or the exception that it raised. What it raises itself is the end of each of them."""


class _Work(NamedTuple):
    call: Callable[[], Any]
    joins: bool
    loop: asyncio.AbstractEventLoop
    done: asyncio.Future[Any]


_Settled = tuple[asyncio.Future[Any], object]


class DatabaseThread:
    """Runs calls in the order in which they came. Writes that wait in a row are joined: they
    share one transaction, and so one sync of the disk."""

    def __init__(self, *, name: str) -> None:
        self._waiting: deque[_Work] = deque()
        self._changed = threading.Condition()
        self._stopped = False
        self._join: Join | None = None
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def joins_by(self, join: Join) -> None:
        """Have writes joined by `join` from now on."""
        self._join = join

    async def run(self, call: Callable[[], _T], *, joins: bool = False) -> _T:
        """What `call` returns. It is carried out also where the caller stops waiting."""
        loop = asyncio.get_running_loop()
        done: asyncio.Future[_T] = loop.create_future()
        with self._changed:
            self._waiting.append(_Work(call, joins, loop, done))
            self._changed.notify()
        return await done

    def stop(self) -> None:
        """End the thread once all that was asked for is done; returns at once."""
        with self._changed:
            self._stopped = True
            self._changed.notify()

    def _run(self) -> None:
        while group := self._next():
            self._tell(group, self._results(group))

    def _tell(self, group: Sequence[_Work], results: Sequence[object]) -> None:
        """Wake each loop once: what was joined most often comes from one."""
        by_loop: dict[asyncio.AbstractEventLoop, list[_Settled]] = {}
        for work, result in zip(group, results, strict=True):
            by_loop.setdefault(work.loop, []).append((work.done, result))
        for loop, settled in by_loop.items():
            with suppress(RuntimeError):  # it is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, settled)

    def _next(self) -> list[_Work]:
        """What to do next, waited for; nothing where this is the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            group: list[_Work] = []
            while self._waiting and self._goes_with(group):
                group.append(self._waiting.popleft())
        return group

    def _goes_with(self, group: Sequence[_Work]) -> bool:
        """Whether what waits in front can be done together with what was taken already."""
        if not group:
            return True
        joined = self._join is not None and group[0].joins and self._waiting[0].joins
        return joined and len(group) < _JOINED_AT_MOST

    def _results(self, group: Sequence[_Work]) -> Sequence[object]:
        try:
            if len(group) == 1 or self._join is None:
                return [work.call() for work in group]
            return self._join([work.call for work in group])
        except BaseException as error:  # noqa: BLE001 - raised where it is waited for
            return [error] * len(group)


def _settle(settled: Sequence[_Settled]) -> None:
    for done, result in settled:
        if done.cancelled():
            continue
        if isinstance(result, BaseException):
            done.set_exception(result)
        else:
            done.set_result(result)
