"""`SpooledStore`: a store that may be away for a while, and nothing is lost or doubled.

What is written under a lease goes straight to the store as long as it takes it. Once it
does not, because it is away (`StoreAway`), it waits on local disk, and all that comes later
goes behind it. Entries get their numbers here meanwhile: whoever holds the lease is the
only one to write, so they are the numbers that the store will give. In the background the
store is tried until it is back, and what waits goes in, in order, each once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.errors import LeaseLost, StoreAway, StoreError
from supervisor.store.draft import drafts_of
from supervisor.store.forwarding import forwarding
from supervisor.store.interface import Recorded, Store, StoredEntry
from supervisor.store.spool_backlog import Backlog, leftovers
from supervisor.store.spool_operations import Operation, Record, Update, Write, decoded, encoded
from supervisor.store.spool_session import HeldSession, SpoolListener

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["SpoolListener", "SpooledStore"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
"""Seconds between two attempts to reach a store that is away: each is twice the last."""


@forwarding
class SpooledStore(Store):
    """Wraps the store of one or several sessions of this process; see the module.

    Entries, records and changes of a session wait if they are written under a lease that
    was taken through this store. Everything else is passed on; while operations wait it is
    held back, at most `look_within`, so that nobody reads what is behind, and raises
    `StoreAway` then. Leases are renewed in any case.

    What a process that is gone left waiting is taken in by `open`, and by `acquire_lease`
    before it gives the session to another holder.
    """

    def __init__(
        self,
        inner: Store,
        folder: Path,
        *,
        lent: bool = False,
        listener: SpoolListener | None = None,
        look_within: timedelta = timedelta(seconds=30),
        leave_within: timedelta = timedelta(seconds=5),
    ) -> None:
        """`folder` is where operations wait, made when it is needed. A `lent` store is
        opened and closed by somebody else. `leave_within` is for how long `release_lease`
        waits for a store that is away."""
        self.inner = inner
        self._folder = folder
        self._lent = lent
        self._listener = listener if listener is not None else SpoolListener()
        self._look_within = look_within
        self._leave_within = leave_within
        self._sessions: dict[str, HeldSession] = {}
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="lucid-spool")
        self._present = asyncio.Event()
        self._present.set()
        self._away_since = 0.0
        self._waited = 0
        self._replaying: asyncio.Task[None] | None = None

    def __str__(self) -> str:
        return str(self.inner)

    @property
    def away(self) -> bool:
        """Whether operations wait, so that what is written now waits too."""
        return not self._present.is_set()

    async def back(self, within: float) -> bool:
        """Wait, at most `within` seconds, until nothing waits any more; returns whether
        that is so."""
        try:
            async with asyncio.timeout(within):
                await self._present.wait()
        except TimeoutError:
            return False
        return True

    async def look_through(self) -> None:
        """Wait until the store shows all that was written. Raises `StoreAway`."""
        within = self._look_within.total_seconds()
        if self.away and not await self.back(within):
            raise StoreAway(
                f"the store {self} is away, and was still so after {within:g} s; what was "
                "written meanwhile waits on local disk"
            )

    # Coming and going

    async def open(self) -> None:
        """Open the store, and take in what processes that are gone left waiting."""
        if not self._lent:
            await self.inner.open()
        try:
            await self._take_in()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Close the store. What still waits stays on local disk, for the next process."""
        if self._replaying is not None:
            self._replaying.cancel()
            await asyncio.gather(self._replaying, return_exceptions=True)
        if self.away:
            self._listener.left()
            self._present.set()
        for session in list(self._sessions.values()):
            await self._leave(session)
        self._sessions.clear()
        self._disk.shutdown(wait=False)
        if not self._lent:
            await self.inner.close()

    async def _leave(self, session: HeldSession) -> None:
        waiting, session.waiting = session.waiting, 0
        if not waiting:
            return
        self._listener.waits(-waiting)
        where = await self._on_disk(session.backlog.leave)
        log.error(
            "session %s: the store %s is still away; %d operations wait for it %s",
            session.backlog.lease.session_id,
            self,
            waiting,
            f"in {where}, and go in when a Lucid on this host next opens the store"
            if where is not None
            else "in vain: the local disk failed, too, and they are lost",
        )

    # Leases

    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        await self.look_through()
        await self._take_in(session_id)
        lease = await self.inner.acquire_lease(session_id, owner=owner, ttl=ttl)
        row = await self.inner.session(session_id)
        backlog = Backlog(self._folder, str(self.inner), lease)
        self._sessions[session_id] = HeldSession(backlog, row.entries)
        return lease

    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        return await self.inner.renew_lease(lease, ttl=ttl)

    async def release_lease(self, lease: Lease) -> None:
        """See `Store.release_lease`. While operations wait under it, a lease is not let go:
        raises `StoreAway` then, and the lease expires by itself."""
        session = self._session(lease)
        if session is not None and session.waiting:
            within = self._leave_within.total_seconds()
            if not await self.back(within):
                raise StoreAway(f"the store {self} is away; the lease will expire by itself")
        await self.inner.release_lease(lease)
        if session is not None:
            self._sessions.pop(lease.session_id, None)

    def _session(self, lease: Lease | None) -> HeldSession | None:
        """The session that a write under this lease is for; None where it is not ours."""
        session = self._sessions.get(lease.session_id) if lease is not None else None
        if session is None or lease is None:
            return None
        ours = session.backlog.lease
        if (ours.owner, ours.epoch) != (lease.owner, lease.epoch):
            return None
        if session.lost is not None:
            raise session.lost
        return session

    # What can wait

    async def write(
        self,
        key: SessionKey,
        raws: Sequence[bytes],
        *,
        session_id: str | None = None,
        inherited: bool | None = None,
        offsets: Sequence[int] | None = None,
        batch: str | None = None,
        lease: Lease | None = None,
    ) -> list[StoredEntry]:
        session = self._session(lease)
        batch = batch or uuid4().hex
        how: dict[str, Any] = {"inherited": inherited, "offsets": offsets, "batch": batch}
        straight = partial(self.inner.write, key, raws, session_id=session_id, lease=lease, **how)
        if session is None or not raws:
            return await straight()
        async with session.writing:
            if not self.away:
                try:
                    stored = await straight()
                except StoreAway as error:
                    self._is_away(error)
                else:
                    session.took(stored)
                    return stored
            drafts = await self._on_disk(partial(drafts_of, raws, **how))
            stored = session.numbered(key, drafts)
            write = Write(
                key={name: str(part) for name, part in key.items()},
                raws=tuple(raws),
                session_id=session_id,
                inherited=inherited,
                offsets=None if offsets is None else tuple(offsets),
                batch=batch,
                last_seq=session.last_seq,
            )
            try:
                await self._wait_with(session, write)
            except StoreAway:
                session.forget(stored)
                raise
            return stored

    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        session = self._session(lease)
        straight = partial(self.inner.record, *items, lease=lease)
        await self._write(session, straight, lambda: Record.of(items))

    async def update_session(
        self,
        session_id: str,
        *,
        state: SessionState | None = None,
        lease: Lease | None = None,
        **changes: str | None,
    ) -> None:
        session = self._session(lease)
        straight = partial(
            self.inner.update_session, session_id, state=state, lease=lease, **changes
        )
        columns = {"state": state, **changes}
        await self._write(session, straight, lambda: Update.of(session_id, columns))

    async def _write(
        self,
        session: HeldSession | None,
        straight: Callable[[], Awaitable[None]],
        operation: Callable[[], Operation],
    ) -> None:
        if session is None:
            await straight()
            return
        if not self.away:
            try:
                await straight()
            except StoreAway as error:
                self._is_away(error)
            else:
                return
        await self._wait_with(session, operation())

    async def _wait_with(self, session: HeldSession, operation: Operation) -> None:
        """Put an operation behind those that wait."""
        if session.lost is not None:  # while this one was on its way
            raise session.lost
        self._count(session, 1)
        try:
            await self._on_disk(lambda: session.backlog.add(encoded(operation)))
        except StoreAway:
            self._count(session, -1)
            raise

    def _count(self, session: HeldSession, change: int) -> None:
        session.waiting += change
        self._waited += max(0, change)
        self._listener.waits(change)

    def _on_disk(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Have the disk's thread do this, after all that it was told before."""
        return asyncio.get_running_loop().run_in_executor(self._disk, work)

    # While it is away

    def _is_away(self, error: StoreError) -> None:
        if self.away:
            return
        self._present.clear()
        self._away_since, self._waited = time.monotonic(), 0
        log.error("%s; what is written waits in %s until it is back", error, self._folder)
        self._listener.went_away(error)
        self._replaying = asyncio.create_task(self._replay())

    async def _replay(self) -> None:
        pause = FIRST_PAUSE
        while True:
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
            try:
                while session := self._one_waiting():
                    await self._replay_first(session)
                    pause = FIRST_PAUSE
                    if self._one_waiting() is None:
                        await self._clear()
            except (StoreAway, OSError) as error:
                log.debug("still away: %s", error)
            else:
                break
        # No operation comes between the look that found none waiting and this.
        self._is_back()

    def _one_waiting(self) -> HeldSession | None:
        return next((session for session in self._sessions.values() if session.waiting), None)

    async def _clear(self) -> None:
        for session in list(self._sessions.values()):
            await self._on_disk(session.backlog.clear)

    def _is_back(self) -> None:
        self._present.set()
        after, operations = timedelta(seconds=time.monotonic() - self._away_since), self._waited
        log.error(
            "the store %s is back after %.1f s; %d operations that waited went in",
            self,
            after.total_seconds(),
            operations,
        )
        self._listener.came_back(after, operations)

    async def _replay_first(self, session: HeldSession) -> None:
        try:
            done = await self._do_first(session.backlog, exact=True)
        except LeaseLost as error:
            session.lost = error
            self._count(session, -session.waiting)
            self._say_lost(error, await self._on_disk(session.backlog.set_aside))
            return
        if done:
            self._count(session, -1)
            return
        lease, unread = session.backlog.lease, session.waiting
        self._count(session, -unread)
        where = await self._on_disk(session.backlog.set_aside)
        self._refuse(lease, f"{unread} operations that waited cannot be read; see {where}")

    async def _do_first(self, backlog: Backlog, *, exact: bool) -> bool:
        """Do the operation that is next and drop it; returns whether there was one. Raises
        `StoreAway`, `LeaseLost` and `OSError`; one that is refused for another reason is
        set aside, so that the rest does not wait for it."""
        record = await self._on_disk(backlog.first)
        if record is None:
            return False
        try:
            await self._do(decoded(record), backlog.lease, exact=exact)
        except (StoreAway, LeaseLost):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest must go on
            where = await self._on_disk(backlog.refuse_first)
            self._refuse(backlog.lease, f"the store refused what had waited ({error}); see {where}")
        else:
            await self._on_disk(backlog.drop_first)
        return True

    async def _do(self, operation: Operation, lease: Lease, *, exact: bool) -> None:
        """Do what waited, and see that its entries have the numbers they were given."""
        stored = await operation.do(self.inner, lease)
        if not isinstance(operation, Write):
            return
        last = stored[-1].seq if stored else (await self.inner.session(lease.session_id)).entries
        done_before = not stored and last > operation.last_seq
        if last != operation.last_seq and (exact or not done_before):
            self._refuse(
                lease,
                f"entries that waited were numbered up to {operation.last_seq} and are kept up to "
                f"{last}: what was concluded meanwhile names wrong entries",
            )

    def _say_lost(self, error: LeaseLost, where: Path | None) -> None:
        kept = f"is kept aside in {where}" if where is not None else "is lost: the disk failed, too"
        log.error("%s; what had waited for the store %s %s", error, self, kept)
        self._listener.lost(error, where)

    def _refuse(self, lease: Lease, message: str) -> None:
        log.error("session %s: %s", lease.session_id, message)
        self._listener.refused(lease.session_id, message)

    # What a process that is gone has left

    async def _take_in(self, session_id: str | None = None) -> None:
        for path in await self._on_disk(
            lambda: leftovers(self._folder, str(self.inner), session_id)
        ):
            try:
                backlog = await self._on_disk(partial(Backlog.adopt, path))
                if backlog is not None:
                    await self._take_in_one(backlog, path)
            except OSError as error:
                log.error("what waits for the store in %s cannot be read: %s", path, error)

    async def _take_in_one(self, backlog: Backlog, path: Path) -> None:
        count = 0
        try:
            while await self._do_first(backlog, exact=False):
                count += 1
        except LeaseLost as error:
            where = await self._on_disk(backlog.set_aside)
            self._refuse(backlog.lease, f"{error}; what had waited in {path} is now in {where}")
            return
        except StoreAway:
            await self._on_disk(backlog.leave)
            raise
        torn = backlog.torn
        await self._on_disk(backlog.clear)
        log.warning(
            "session %s: took in %d operations that a process which is gone had left waiting in "
            "%s%s",
            backlog.lease.session_id,
            count,
            path,
            f"; {torn} bytes at its end, which it was writing when it ended, are left out"
            if torn
            else "",
        )
