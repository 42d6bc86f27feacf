"""`FollowedSession`: one SDK session that runs beside us, followed by its transcript files."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import msgspec

from supervisor.core.session import SessionState
from supervisor.errors import StoreError, TranscriptError
from supervisor.metrics import METRICS
from supervisor.policy.model import Policy
from supervisor.policy.situation import Record
from supervisor.runtime.account import Event
from supervisor.runtime.bearings import chooses
from supervisor.runtime.escalation import told_before
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.control import HookControl
from supervisor.sidecar.offsets import FollowedFile, Part
from supervisor.store.codec import identify
from supervisor.store.interface import SessionRow, Store

__all__ = ["FollowedSession", "Ground"]

log = logging.getLogger(__name__)


_COMING = 8
"""Sessions whose past is in memory at the same time, in parts of some megabytes each."""


@dataclass
class Ground:
    """What the sessions of one folder have in common."""

    store: Store
    policy: Policy
    labels: Mapping[str, str]
    tell: Callable[[Event], None]
    now: Callable[[], datetime]
    record: Record
    """How often each action helped; see `Bearings.know`."""
    followed_at: datetime
    """When the folder was first followed, or little before, for clocks differ."""
    judged: dict[str, int] = field(default_factory=dict)
    """The newest entry that was judged of each session, by Lucid's id."""
    coming: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_COMING))
    """Held by a session whose past is read: when a sidecar begins, that may be all of them."""


_STOPPED = frozenset({SessionState.ABORTED, SessionState.PAUSED})


class _Cwd(msgspec.Struct):
    cwd: str | None = None


_CWD = msgspec.json.Decoder(_Cwd)


class FollowedSession:
    """A session's files, and its supervision as long as it is in memory.

    It is `open` once it has a supervision, and `over` once it was put down. Its files are
    read by one task at a time, which is there as long as something waits to be read.
    """

    session_id: str
    """Lucid's id of it."""
    supervision: Supervision
    control: HookControl

    def __init__(
        self,
        sdk_session_id: str,
        project_key: str,
        ground: Ground,
        *,
        taken: Callable[[FollowedFile], None],
        failed: Callable[[StoreError], None],
    ) -> None:
        """`taken` hears of each part of a file that is stored and judged, `failed` of a store
        that cannot be used: what was to be stored waits for `go_on` then."""
        self.sdk_session_id = sdk_session_id
        self.is_open = False
        self.is_elsewhere = False
        """Another worker has it: its entries are that one's to store."""
        self.is_over = False
        self.heard_at = time.monotonic()
        """When something was last written, or a hook posted."""
        self.files: dict[Path, FollowedFile] = {}
        self._project_key = project_key
        self._ground = ground
        self._taken = taken
        self._failed = failed
        self._is_at_work = False
        self._stopped = False
        self._waiting: set[Path] = set()
        self._working: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._lock = asyncio.Lock()
        self._has_caught_up = False

    # Reading

    def add(self, file: FollowedFile) -> None:
        """Follow one more file of the session."""
        self.files[file.path] = file

    def read_soon(self, file: FollowedFile) -> None:
        """One of its files may have grown; returns at once."""
        self._waiting.add(file.path)
        self.go_on()

    def go_on(self) -> None:
        """Read what waits to be read, if there is anything."""
        if self._waiting and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())

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
            self._failed(error)

    async def catch_up(self) -> None:
        """Before its agent is first reached, read what it wrote meanwhile. What it did by
        then must not count as what came of an action of now."""
        if not self._has_caught_up:
            await self.read_now()
            self._has_caught_up = True

    async def _work(self) -> None:
        try:
            while self._waiting and not self.is_over:
                await self._read_waiting()
        except StoreError as error:
            self._failed(error)
        except Exception:  # it is tried again, as what a store would not take
            log.exception("session %s: its files cannot be read on", self.sdk_session_id)
            METRICS.incidents.labels(source="ingest").inc()

    async def _read_waiting(self) -> None:
        async with self._lock:
            # Its main transcript first: that of a subagent stands under a call of it.
            for path in sorted(self._waiting, key=lambda path: (len(path.parts), path)):
                if self.is_over:
                    return
                self._waiting.discard(path)  # what is told from here on is not forgotten
                try:
                    await self._read(self.files[path])
                except BaseException:
                    self._waiting.add(path)
                    raise

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
        if not self.is_open and not await self._open(part):
            file.skip()
            return False
        await self._take(file, part)
        return True

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
            await self._note(f"{file.path}:{fault.number}: {fault.message}")
        if part.lines:
            known = self.supervision.seq
            await self.supervision.take(
                file.key,
                [line.raw for line in part.lines],
                inherited=part.inherited or None,
                offsets=[line.offset for line in part.lines],
            )
            if self.supervision.seq > known and not self._is_at_work:
                await self._at_work(_folder_in(part))
        self.heard_at = time.monotonic()
        self._ground.judged[self.session_id] = self.supervision.seq
        file.taken(self.session_id, self.supervision.seq)
        self._taken(file)

    async def _note(self, problem: str) -> None:
        log.warning("session %s: %s", self.sdk_session_id, problem)
        if self.is_open:
            await self.supervision.note("ingest", problem)

    # Coming and going

    async def open(self) -> bool:
        """Take the session into memory; returns whether it is this sidecar's."""
        async with self._lock:
            if self.is_over or self.is_elsewhere:
                return False
            return self.is_open or await self._open(None)

    async def _open(self, part: Part | None) -> bool:
        """As `open`; `part` is the first one of it, where one was read."""
        return await self._open_row(await self._row(part), part)

    async def _take_up(self) -> None:
        """Go on with a session that was at work when this sidecar was last here: its silence
        may be a symptom."""
        row = await self._row(None)
        if row.state is SessionState.RUNNING:
            await self._open_row(row, None)

    async def _open_row(self, row: SessionRow, part: Part | None) -> bool:
        self.session_id = row.session_id
        if row.lease is not None:
            log.info("session %s is run by %s", row.session_id, row.lease.owner)
            self.is_elsewhere = True
            return False
        folder = _folder_in(part) if part is not None else None
        self._stopped = row.state in _STOPPED
        # One that has ended stands as it does until something new is written: all that is
        # there may be what the worker wrote that had it meanwhile.
        self._is_at_work = row.state is SessionState.RUNNING or not row.entries
        if self._is_at_work:
            await self._at_work(folder)
        await self._begin(row, folder or (Path(row.cwd) if row.cwd else None))
        return True

    async def _at_work(self, folder: Path | None) -> None:
        self._is_at_work = True
        await self._ground.store.update_session(
            self.session_id,
            # One that an action stopped stays so until its next turn begins.
            state=None if self._stopped else SessionState.RUNNING,
            state_reason=None if self._stopped else "",
            head=self.sdk_session_id,
            cwd=str(folder) if folder is not None else None,
            policy=self._ground.policy.model_dump_json(),
        )

    async def _row(self, part: Part | None) -> SessionRow:
        """The session, as it is in the store from now on. A fork that the SDK made belongs to
        the session that it was forked from."""
        store = self._ground.store
        session_id = await store.session_of(self._project_key, self.sdk_session_id)
        if session_id is None and (origin := _origin_of(part)) is not None:
            session_id = await store.session_of(self._project_key, origin)
        return await store.create_session(
            session_id or self.sdk_session_id,
            project_key=self._project_key,
            head=self.sdk_session_id,
        )

    async def _begin(self, row: SessionRow, folder: Path | None) -> None:
        ground = self._ground
        control = HookControl(folder)
        supervision = Supervision(
            session_id=row.session_id,
            store=ground.store,
            policy=ground.policy,
            capabilities=control.capabilities,
            act=control.act,
            tell=ground.tell,
            now=ground.now,
            labels=ground.labels,
            hand_over=f"lucid adopt {row.session_id}",
        )
        if chooses(ground.policy):
            supervision.bearings.know(ground.record)
        told = await told_before(ground.store, row.session_id) if ground.policy.escalation else ()
        control.begin(supervision, ground.policy, ground.store, told=told)
        if row.entries:
            await supervision.prime(self.sdk_session_id, await self._judged_to(row))
        self.supervision, self.control = supervision, control
        supervision.began()
        self.is_open = True

    async def _judged_to(self, row: SessionRow) -> int | None:
        """What of a session is known to have been judged; None where that is all of it.

        A session that began since its folder is followed, and that no worker ever ran, is
        this sidecar's: what is not marked of it was perhaps not judged."""
        judged = self._ground.judged.get(row.session_id)
        if judged is not None:
            return judged
        is_ours = row.created_at >= self._ground.followed_at
        return 0 if is_ours and await self._ground.store.lease(row.session_id) is None else None

    async def ended(self, reason: str) -> None:
        """The agent's process has ended, as far as anybody knows: record how the session
        stands, and put it down. It is taken up again when its files go on. A caller that
        stops waiting, as a hook does, stops nothing."""
        if self._ending is None or self._ending.done():
            self._ending = asyncio.create_task(self._end(reason))
        await asyncio.shield(self._ending)

    async def _end(self, reason: str) -> None:
        await self.read_now()
        async with self._lock:
            if self.is_open:
                await self.supervision.finish()
                await self.supervision.conclude(*self._standing(reason))
        await self.put_down()

    def _standing(self, reason: str) -> tuple[SessionState, str]:
        if self.control.turns.leaves is not None:
            return self.control.turns.leaves
        if not self.supervision.rests:
            return SessionState.CLOSED, f"{reason}, in the midst of a turn"
        if why_not := self.supervision.why_not_reached:
            return SessionState.GAVE_UP, why_not
        return SessionState.REACHED, ""

    async def put_down(self) -> None:
        """Let go of what is in memory of it."""
        async with self._lock:
            was_open, self.is_open, self.is_over = self.is_open, False, True
        await self.settled()
        if was_open:
            await self.supervision.leave()
            self.supervision.ended()
            await self.control.close()

    async def tick(self) -> None:
        """Tell its detectors the time, while its agent is at work."""
        if self.is_open and not self.supervision.rests:
            await self.supervision.tick()


def _folder_in(part: Part) -> Path | None:
    for line in part.lines:
        try:
            cwd = _CWD.decode(line.raw).cwd
        except (ValueError, RecursionError):
            continue
        if cwd is not None and Path(cwd).is_absolute() and "\0" not in cwd:
            return Path(cwd)
    return None


def _origin_of(part: Part | None) -> str | None:
    forks = (identify(line.raw).forked_from for line in part.lines) if part is not None else ()
    return next((fork.session_id for fork in forks if fork is not None), None)
