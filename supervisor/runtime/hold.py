"""`Hold`: a worker's hold on one session, a lease that is renewed until it is let go.

Whoever holds the session may run its agent and write to it. A worker that cannot renew in
time must reckon with another that takes over, so it says so, and again when it is well.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from datetime import timedelta
from typing import Protocol
from uuid import uuid4

from supervisor.core.lease import Lease
from supervisor.errors import LeaseHeld, LeaseLost, StoreError
from supervisor.runtime.keeper_process import birth

__all__ = ["Hold", "Leases"]

log = logging.getLogger(__name__)

_RENEWALS = 3
"""Renewals tried in a lease's time, so that one may fail and the next comes in time."""


class Leases(Protocol):
    """What gives leases; a `Store` gives those on sessions."""

    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        """See `Store.acquire_lease`."""

    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        """See `Store.renew_lease`."""

    async def release_lease(self, lease: Lease) -> None:
        """See `Store.release_lease`."""

    async def lease(self, session_id: str) -> Lease | None:
        """See `Store.lease`."""


class Hold:
    """One session, held by this process."""

    def __init__(
        self,
        store: Leases,
        session_id: str,
        ttl: timedelta,
        *,
        on_lost: Callable[[LeaseLost], None],
    ) -> None:
        """`ttl`: how long the session stays ours without a word from us. `on_lost` hears,
        once, that another worker has taken it."""
        self._store = store
        self._session_id = session_id
        self._ttl = ttl
        self._on_lost = on_lost
        self._lease: Lease | None = None
        self._renewing: asyncio.Task[None] | None = None

    @property
    def lease(self) -> Lease | None:
        """What writes are made under; None before the hold begins."""
        return self._lease

    async def begin(self) -> None:
        """Take the session. Raises `LeaseHeld` where another worker has it; one on this
        host whose process is gone has it no more."""
        owner = f"{_host()}/{os.getpid()}/{birth(os.getpid()) or '-'}/{uuid4().hex[:8]}"
        try:
            self._lease = await self._acquire(owner)
        except LeaseHeld as held:
            if not _is_gone(held.holder):
                raise
            last = await self._store.lease(self._session_id)
            if last is not None and last.owner == held.holder:
                await self._store.release_lease(last)
            self._lease = await self._acquire(owner)
        self._renewing = asyncio.create_task(self._renew())

    async def _acquire(self, owner: str) -> Lease:
        return await self._store.acquire_lease(self._session_id, owner=owner, ttl=self._ttl)

    async def _renew(self) -> None:
        failing = False
        while self._lease is not None:
            await asyncio.sleep(self._ttl.total_seconds() / _RENEWALS)
            try:
                self._lease = await self._store.renew_lease(self._lease, ttl=self._ttl)
                failing = False
            except LeaseLost as error:
                self._on_lost(error)
                return
            except StoreError as error:
                level = logging.DEBUG if failing else logging.ERROR
                log.log(level, "session %s: lease not renewed: %s", self._session_id, error)
                failing = True

    async def end(self) -> None:
        """Let go of the session, so that another worker need not wait."""
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.gather(self._renewing, return_exceptions=True)
        if self._lease is not None:
            lease, self._lease = self._lease, None
            try:
                await self._store.release_lease(lease)
            except StoreError as error:
                log.error("session %s: lease not released: %s", self._session_id, error)


def _host() -> str:
    """This host, or container: where a process number means one process."""
    try:
        namespace = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        namespace = 0
    return f"{socket.gethostname()}#{namespace}"


def _is_gone(owner: str) -> bool:
    """Whether `owner` was a process of this host that has ended."""
    host, _, rest = owner.partition("/")
    pid, _, rest = rest.partition("/")
    born, _, _ = rest.partition("/")
    if host != _host() or not pid.isdigit():
        return False
    return birth(int(pid)) != born
