"""`FollowedSession`: one SDK session that runs beside us, followed by its transcript files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from anyio import Semaphore, WouldBlock

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.errors import LeaseLost, StoreError, TranscriptError
from supervisor.ingest.lines import Fault
from supervisor.metrics import METRICS
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.control import HookControl
from supervisor.sidecar.ground import Ground
from supervisor.sidecar.offsets import FollowedFile, Part
from supervisor.store.interface import SessionRow, StoredEntry

__all__ = ["FollowedSession", "Pending"]

log = logging.getLogger(__name__)


_STOPPED = frozenset({SessionState.ABORTED, SessionState.PAUSED})


class Pending(NamedTuple):
    """What was read of a session's file, and is neither stored nor judged yet."""

    session: FollowedSession
    file: FollowedFile
    part: Part


class FollowedSession:
    """A session's files, and its supervision as long as it is in memory.

    It is `open` once it has a supervision, and `over` once it was put down. What one of its
    files has is read in two ways, one at a time: a part of it in a round with those of other
    sessions (`read_part`, `took`), or all of it by the session itself.
    """

    session_id: str
    """Lucid's id of it."""
    lease: Lease
    """The last one on it when it was opened, as a rule nobody's. Whatever is written of the
    session is written under it."""
    supervision: Supervision
    control: HookControl

    def __init__(
        self,
        sdk_session_id: str,
        project_key: str,
        ground: Ground,
        *,
        soon: Callable[[FollowedSession], None],
        taken: Callable[[FollowedFile], None],
        failed: Callable[[StoreError], None],
    ) -> None:
        """`soon` is to have `read_part` called; it returns at once. `taken` hears of each part
        of a file that is stored and judged, `failed` of a store that cannot be used: what was
        to be stored waits for `go_on` then."""
        self.sdk_session_id = sdk_session_id
        self.is_open = False
        self.is_elsewhere = False
        """A worker has it: its entries are that one's to store. If it is open, the worker took
        it since, and it is to be put down."""
        self.is_over = False
        self.heard_at = time.monotonic()
        """When something was last written, or a hook posted."""
        self.files: dict[Path, FollowedFile] = {}
        self._project_key = project_key
        self._ground = ground
        self._soon = soon
        self._taken = taken
        self._failed = failed
        self._is_at_work = False
        self._stopped = False
        self._waiting: set[Path] = set()
        self._working: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._held = Semaphore(1, max_value=1, fast_acquire=True)
        """By whoever reads its files, or has it come or go."""
        self._has_caught_up = False
        self._has_much = False

    # Reading

    def add(self, file: FollowedFile) -> None:
        """Follow one more file of the session."""
        self.files[file.path] = file
        if self.is_open:
            self._leave_to_worker(file)

    def _leave_to_worker(self, file: FollowedFile) -> None:
        if self.lease.epoch:
            file.leave_to_worker(self.lease.expires_at)

    def read_soon(self, file: FollowedFile) -> None:
        """One of its files may have grown; returns at once."""
        self._waiting.add(file.path)
        self.go_on()

    def go_on(self) -> None:
        """Have what waits to be read be read, if there is anything."""
        if self._waiting and not self.is_over and not self._was_taken:
            self._soon(self)

    @property
    def _was_taken(self) -> bool:
        return self.is_open and self.is_elsewhere

    def read_part(self) -> Pending | None:
        """Read a part of what waits, and hold the session until it `took` it. Returns None
        where nothing is there, and where others read it, or it has to do so by itself."""
        try:
            self._held.acquire_nowait()
        except WouldBlock:
            return None  # whoever holds it has it go on
        found = None
        try:
            found = self._next_of_round()
        except TranscriptError:
            self._read_by_itself()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            self._has_failed(error)
        finally:
            if found is None:
                self._held.release()
        return found

    def _next_of_round(self) -> Pending | None:
        if self._was_taken:
            return None
        if self._has_much or not (self.is_open and self._is_at_work):
            self._read_by_itself()
            return None
        for path in self._in_order():
            file = self.files[path]
            part = file.next_part()
            self._waiting.discard(path)
            if part is not None:
                self._has_much = file.has_much
                return Pending(self, file, part)
        return None

    async def took(self, pending: Pending, stored: list[StoredEntry] | Exception) -> None:
        """What was read is stored, or could not be: judge it, and let go of the session."""
        try:
            if isinstance(stored, Exception):
                raise stored
            for fault in pending.part.faults:
                await self._note_fault(pending.file, fault)
            await self.supervision.judge(stored)
            self._has_taken(pending.file)
        except Exception as error:  # noqa: BLE001 - told, and tried again
            self._waiting.add(pending.file.path)
            self._has_failed(error)
        else:
            self.go_on()
        finally:
            self._held.release()

    async def settled(self) -> None:
        """Return once nothing is being read."""
        if self._working is not None:
            await asyncio.gather(self._working, return_exceptions=True)

    async def read_now(self) -> None:
        """Read, store and judge what its files hold beyond what was read. A store that is
        away leaves it unread."""
        self._waiting.update(self.files)
        try:
            await self._read_waiting()
        except StoreError as error:
            self._has_failed(error)
        else:
            self.go_on()

    async def catch_up(self) -> None:
        """Before its agent is first reached, read what it wrote meanwhile. What it did by
        then must not count as what came of an action of now."""
        if not self._has_caught_up:
            await self.read_now()
            self._has_caught_up = True

    def _read_by_itself(self) -> None:
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._waiting and not self.is_over and not self._was_taken:
                await self._read_waiting()
        except Exception as error:  # noqa: BLE001 - told, and tried again
            self._has_failed(error)

    def _has_failed(self, error: Exception) -> None:
        """What waits to be read does so until `go_on`, when it is tried again."""
        if isinstance(error, LeaseLost):
            self.is_elsewhere = True
            return
        if isinstance(error, StoreError):
            self._failed(error)
            return
        log.error("session %s: its files cannot be read on", self.sdk_session_id, exc_info=error)
        METRICS.incidents.labels(source="ingest").inc()

    async def _read_waiting(self) -> None:
        async with self._held:
            for path in self._in_order():
                if self.is_over or self._was_taken:
                    return
                self._waiting.discard(path)  # what is told from here on is not forgotten
                try:
                    await self._read(self.files[path])
                except BaseException:
                    self._waiting.add(path)
                    raise
            self._has_much = False

    def _in_order(self) -> list[Path]:
        """What waits, the main transcript first: that of a subagent stands under a call of
        it."""
        if len(self._waiting) == 1:
            return list(self._waiting)
        return sorted(self._waiting, key=lambda path: (len(path.parts), path))

    async def _read(self, file: FollowedFile) -> None:
        while await self._read_part(file):
            pass
        if file.mark is not None and not self.is_open:
            await self._take_up()

    async def _read_part(self, file: FollowedFile) -> bool:
        """Read on by a part; returns whether there was one to take."""
        if file.is_near_end:
            return await self._take_next(file)
        async with self._ground.coming:
            return await self._take_next(file)

    async def _take_next(self, file: FollowedFile) -> bool:
        part = await self._next_part(file)
        if part is None:
            return False
        if not self.is_open:
            if not await self._open(part):
                file.skip()
                return False
            part = await self._next_part(file)  # how much of it is history may be known now
        if part is not None:
            await self._take(file, part)
        return part is not None

    async def _next_part(self, file: FollowedFile) -> Part | None:
        try:
            if file.mark is not None or file.is_near_end:
                return file.next_part()  # what an agent just wrote is in the page cache
            return await asyncio.to_thread(file.next_part)
        except TranscriptError as error:
            await self._note(str(error))
            return None

    async def _take(self, file: FollowedFile, part: Part) -> None:
        for fault in part.faults:
            await self._note_fault(file, fault)
        if part.lines:
            known = self.supervision.seq
            await self.supervision.take(
                file.key,
                [line.raw for line in part.lines],
                inherited=part.inherited or None,
                offsets=[line.offset for line in part.lines],
            )
            is_news = self.supervision.seq > known and not part.inherited
            if is_news and not self._is_at_work:
                await self._at_work(part.folder)
        self._has_taken(file)

    def _has_taken(self, file: FollowedFile) -> None:
        self.heard_at = time.monotonic()
        self._ground.judged[self.session_id] = self.supervision.seq
        file.taken(self.session_id, self.supervision.seq)
        self._taken(file)

    async def _note_fault(self, file: FollowedFile, fault: Fault) -> None:
        await self._note(f"{file.path}:{fault.number}: {fault.message}")

    async def _note(self, problem: str) -> None:
        log.warning("session %s: %s", self.sdk_session_id, problem)
        if self.is_open:
            await self.supervision.note("ingest", problem)

    # Coming and going

    async def open(self) -> bool:
        """Take the session into memory; returns whether it is this sidecar's."""
        async with self._held:
            if self.is_over or self.is_elsewhere:
                return False
            try:
                is_ours = self.is_open or await self._open(None)
            except LeaseLost as error:
                self._has_failed(error)
                return False
        self.go_on()
        return is_ours

    async def _open(self, part: Part | None) -> bool:
        """As `open`; `part` is the first one of it, where one was read."""
        return await self._open_row(*await self._row(part), part)

    async def _take_up(self) -> None:
        """Go on with a session that was at work when this sidecar was last here: its silence
        may be a symptom."""
        row, lease = await self._row(None)
        if row.state is SessionState.RUNNING:
            await self._open_row(row, lease, None)

    async def _open_row(self, row: SessionRow, lease: Lease, part: Part | None) -> bool:
        self.session_id, self.lease = row.session_id, lease
        if row.lease is not None:
            log.info("session %s is run by %s", row.session_id, row.lease.owner)
            self.is_elsewhere = True
            return False
        folder = part.folder if part is not None else None
        self._stopped = row.state in _STOPPED
        # One that has ended stands as it does until something new is written: all that is
        # there may be what the worker wrote that had it meanwhile.
        self._is_at_work = row.state is SessionState.RUNNING or not row.entries
        if self._is_at_work:
            await self._at_work(folder)
        folder = folder or (Path(row.cwd) if row.cwd else None)
        self.supervision, self.control = await self._ground.supervised(
            row, lease, self.sdk_session_id, folder
        )
        self.supervision.began()
        self.is_open = True
        for file in self.files.values():
            self._leave_to_worker(file)
        return True

    async def _at_work(self, folder: Path | None) -> None:
        self._is_at_work = True
        await self._ground.at_work(self.lease, self.sdk_session_id, folder, stopped=self._stopped)

    async def _row(self, part: Part | None) -> tuple[SessionRow, Lease]:
        origin = part.origin if part is not None else None
        return await self._ground.row(self._project_key, self.sdk_session_id, origin)

    async def ended(self, reason: str) -> None:
        """The agent's process has ended, as far as anybody knows: record how the session
        stands, and put it down. It is taken up again when its files go on. A caller that
        stops waiting, as a hook does, stops nothing."""
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._end(reason))
        await asyncio.shield(self._ending)

    async def _end(self, reason: str) -> None:
        await self.read_now()
        async with self._held:
            if self.is_open and not self.is_elsewhere:
                await self.supervision.finish()
                await self.supervision.conclude(*self._standing(reason))
        await self.put_down()

    def _standing(self, reason: str) -> tuple[SessionState, str]:
        if self.control.turns.leaves is not None:
            return self.control.turns.leaves
        if not self.supervision.progress.rests:
            return SessionState.CLOSED, f"{reason}, in the midst of a turn"
        if why_not := self.supervision.why_not_reached:
            return SessionState.GAVE_UP, why_not
        return SessionState.REACHED, ""

    async def put_down(self) -> None:
        """Let go of what is in memory of it."""
        async with self._held:
            was_open, self.is_open, self.is_over = self.is_open, False, True
        await self.settled()
        if was_open:
            await self.supervision.leave()
            self.supervision.ended()
            await self.control.close()

    async def tick(self) -> None:
        """Tell its detectors the time, while its agent is at work."""
        if self.is_open and not self.supervision.progress.rests:
            await self.supervision.tick()
