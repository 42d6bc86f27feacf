"""`Following`: one folder of transcripts, followed by one sidecar at a time."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import socket
import time
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from supervisor.errors import LeaseHeld, LeaseLost, StoreError
from supervisor.ingest.discover import Source
from supervisor.metrics import METRICS
from supervisor.policy.model import Policy
from supervisor.policy.situation import Record
from supervisor.runtime.hold import Hold
from supervisor.sidecar.folder_lease import FolderLeases
from supervisor.sidecar.ground import Ground
from supervisor.sidecar.offsets import FollowedFile
from supervisor.sidecar.reading import Reading
from supervisor.sidecar.sessions import FollowedSession
from supervisor.sidecar.watching import SUFFIX, Stamp, Watch, Watching
from supervisor.store.folders import FileMark

__all__ = ["SILENT_SECONDS", "Following"]

log = logging.getLogger(__name__)

SILENT_SECONDS = 30 * 60.0
"""A session that is silent for so long is taken to have ended, until it goes on: longer than a
model thinks."""
_IN_A_TURN = 4
"""Times as long in the midst of a turn: a tool may run for hours, and that it hangs is to be
found and told before."""
MOST_SESSIONS = 4_000
"""In memory, of one folder; then those that are silent for longest are put down."""
_BEAT_SECONDS = 1.0
"""How often marks are kept, and other workers' leases looked at: what a sidecar that was
killed judges again is at most so old."""
_TICK_BEATS = 5
"""A session is told the time with each so manieth beat."""
_RETRY_SECONDS = 1.0
_AWAY = "the store is away"
_SLACK = timedelta(seconds=5)
"""What clocks may differ by, of the agent's host and the store's."""
_AGENT_ID = re.compile(r"[\w-]{1,128}")
_MOST_REFUSED = 1_000
"""Paths that are refused once, however often they come."""


class Following:
    """Waits for a folder, holds it, and follows the sessions below it."""

    def __init__(
        self,
        folder: Path,
        ground: Ground,
        *,
        watch: Watch,
        ttl: timedelta,
        silent_seconds: float = SILENT_SECONDS,
    ) -> None:
        """The `ground`'s `followed_at` and `judged` are this folder's to set."""
        self.given = folder
        """As the operator, and perhaps the hooks, call it."""
        self.root = _real(folder)
        self.sessions: dict[str, FollowedSession] = {}
        """Those in memory, by SDK session id."""
        self.refused = 0
        """Paths that led out of the folder."""
        self._ground = ground
        self._store = ground.store
        self._watch: Watch = watch
        self._ttl = ttl
        self._silent = silent_seconds
        self._name = ""
        self._why_not = "it has not begun"
        self._away = ""
        self._hold: Hold | None = None
        self._watching: Watching | None = None
        self._reading = Reading(ground.store)
        self._files: dict[Path, FollowedFile] = {}
        self._marks: dict[str, FileMark] = {}
        self._unkept: dict[str, FileMark] = {}
        self._elsewhere: frozenset[str] = frozenset()
        self._refused: set[Path] = set()
        self._task: asyncio.Task[None] | None = None
        self._done = asyncio.Event()

    def not_ready(self) -> str:
        """Why it is not being followed; empty where it is."""
        if self._why_not:
            return f"{self.given}: {self._why_not}"
        return _AWAY if self._away else ""

    def begin(self) -> None:
        """Begin; returns at once."""
        self._task = asyncio.create_task(self._run())

    async def use(self, policy: Policy) -> None:
        """Decide by another policy from now on."""
        self._ground.policy = policy
        for session in list(self.sessions.values()):
            if session.is_open:
                await session.supervision.use(policy)

    def know(self, record: Record) -> None:
        """How often each action helped in the store's sessions so far."""
        self._ground.record = record

    def below(self, path: Path) -> Path | None:
        """A path below the folder, by the folder's own name; None where it is not. It may
        lead out of it all the same."""
        for root in (self.root, self.given):
            if path.is_relative_to(root):
                return self.root / path.relative_to(root)
        return None

    async def read_now(self) -> None:
        """Read, store and judge what its sessions' files hold."""
        for session in self._ours():
            await session.read_now()

    async def end(self) -> None:
        """Put all down that is in memory, and let go of the folder."""
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task, self._why_not = None, "it has ended"

    # From the folder's being there to its being followed

    async def _run(self) -> None:
        while True:
            try:
                await self._until_held()
                await self._until_there()
                await self._follow()
            except StoreError as error:
                self._say(_AWAY, f"{_AWAY}: {error}")
                METRICS.store_errors.labels("record").inc()
            except OSError as error:
                self._say(f"it cannot be read: {error.strerror}")
            except Exception:  # whatever it was: nobody else would begin again
                self._say("following it failed, and is begun anew; the log says more")
                log.exception("%s", self.given)
                METRICS.incidents.labels(source="ingest").inc()
            finally:
                await self._let_go()
            await asyncio.sleep(_RETRY_SECONDS)

    def _say(self, why_not: str, in_full: str = "") -> None:
        """What is said `in_full` is for the log: anybody may ask for readiness."""
        if why_not and why_not != self._why_not:
            log.warning("%s: %s", self.given, in_full or why_not)
        self._why_not = why_not

    async def _until_there(self) -> None:
        while not self.root.is_dir():
            self._say("it is not there yet")
            await asyncio.sleep(_RETRY_SECONDS)
            self.root = _real(self.given)

    async def _until_held(self) -> None:
        self.root = _real(self.given)
        self._name = f"{socket.gethostname()}:{self.root}"
        self._hold = hold = Hold(
            FolderLeases(self._store), self._name, self._ttl, on_lost=self._lose
        )
        while hold.lease is None:
            try:
                await hold.begin()
            except LeaseHeld as held:
                self._say(f"standing by: {held.holder} follows it")
                await asyncio.sleep(_RETRY_SECONDS)

    def _lose(self, error: LeaseLost) -> None:
        log.error("%s", error)
        if self._watching is not None:
            self._watching.stop()

    async def _follow(self) -> None:
        folder = await self._store.folder(self._name)
        assert folder is not None, "it is held"
        self._ground.followed_at = folder.followed_at - _SLACK
        self._remember(await self._store.marks(self._name))
        self._watching = watching = Watching(self.root, self._watch)
        watching.suspect(*self._worth_reading(await watching.first()))
        at_once = (watching.run(), self._reading.run(), self._tend())
        tasks = [asyncio.create_task(work) for work in at_once]
        for task in tasks:  # without one of them it is begun anew
            task.add_done_callback(lambda _: watching.stop())
        self._say("")
        log.info("%s is followed", self.root)
        try:
            while (changed := await watching.changes()) is not None:
                self._take(changed)
            self._say("it is not there any more, or not ours")
        finally:
            for task in tasks:
                task.cancel()
            for failed in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(failed, Exception):
                    log.error("%s: watching it failed", self.root, exc_info=failed)

    def _remember(self, marks: Iterable[FileMark]) -> None:
        self._marks = {mark.path: mark for mark in marks}
        self._ground.judged.clear()
        for mark in self._marks.values():
            judged = self._ground.judged.get(mark.session_id, 0)
            self._ground.judged[mark.session_id] = max(judged, mark.judged)

    def _worth_reading(self, found: dict[Path, Stamp]) -> Iterable[Path]:
        """The files that may have grown since they were last looked at, and those of agents
        that may be at work. The rest is history, which is left alone until it goes on."""
        began = self._ground.followed_at.timestamp()
        recent = time.time() - self._silent
        for path, stamp in found.items():
            mark = self._marks.get(self._name_of(path))
            modified = stamp.modified_ns / 1e9
            has_grown = mark is not None and mark.offset != stamp.size
            if has_grown or modified >= (began if mark is None else recent):
                yield path

    async def _let_go(self) -> None:
        sessions, self.sessions = list(self.sessions.values()), {}
        # At the same time: what is still on its way to people is waited for.
        ends = (session.put_down() for session in sessions)
        for failed in await asyncio.gather(*ends, return_exceptions=True):
            if isinstance(failed, Exception):
                log.error("%s: a session was not put down", self.root, exc_info=failed)
        self._is_back()
        self._files.clear()
        try:
            await self._keep_marks()
        except StoreError as error:
            log.error("%s: what was read last will be read again: %s", self.root, error)
        hold, self._hold = self._hold, None
        if hold is not None:
            await hold.end()

    # Files

    def _take(self, changed: Iterable[Path]) -> None:
        """Have files read that may have grown."""
        for path in changed:
            file = self._file(path)
            source = file.source() if file is not None else None
            if file is not None and source is not None:
                self._session(source, file).read_soon(file)

    def _file(self, path: Path) -> FollowedFile | None:
        """The file of a path below the folder; None where it leads out of it, or is none."""
        file = self._files.get(path)
        if file is None and self._is_inside(path) and path.is_file():  # not a pipe, which blocks
            file = self._files[path] = self._new_file(path)
        return file

    def _new_file(self, path: Path) -> FollowedFile:
        name = self._name_of(path)
        mark, began = self._marks.get(name), self._ground.followed_at
        return FollowedFile(path, name, mark, history_until=began)

    def _name_of(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _is_inside(self, path: Path) -> bool:
        """Whether a path stands below the folder, under a name that can be written down, and
        no link on its way leads elsewhere."""
        if path in self._files:
            return True  # it was looked at when it came
        inside = path.is_relative_to(self.root) and _is_text(path) and _real(path) == path
        if not inside and path not in self._refused:
            if len(self._refused) < _MOST_REFUSED:
                self._refused.add(path)
            self.refused += 1
            METRICS.incidents.labels(source="ingest").inc()
            log.warning("%r is not followed: it leads out of %s", str(path), self.root)
        return inside

    # Sessions

    def _session(self, source: Source, file: FollowedFile) -> FollowedSession:
        session = self._of(source.session_id, source.project_key or "")
        session.add(file)
        return session

    def _of(self, sdk_session_id: str, project_key: str) -> FollowedSession:
        session = self.sessions.get(sdk_session_id)
        if session is None or session.is_over:
            session = self.sessions[sdk_session_id] = FollowedSession(
                sdk_session_id,
                project_key,
                self._ground,
                soon=self._reading.soon,
                taken=self._taken,
                failed=self._failed,
            )
        return session

    def _ours(self) -> list[FollowedSession]:
        return [one for one in self.sessions.values() if one.is_open]

    def _taken(self, file: FollowedFile) -> None:
        assert file.mark is not None
        self._marks[file.name] = self._unkept[file.name] = file.mark

    def _failed(self, error: StoreError) -> None:
        if not self._away:
            log.error("%s: %s", self.root, error)
            METRICS.store_away.inc()
        self._away = str(error)

    def _is_back(self) -> None:
        """The store can be used, or is none of our business any more."""
        if self._away:
            METRICS.store_away.dec()
        self._away = ""

    async def session_for(
        self, path: Path, sdk_session_id: str, agent_id: str | None
    ) -> FollowedSession | None:
        """The session of a main transcript, whose file need not be there yet. Raises
        `StoreError`."""
        is_its = path.name == f"{sdk_session_id}{SUFFIX}"
        if self._why_not or not is_its or not self._is_inside(path):
            return None
        session = self._of(sdk_session_id, path.parent.name)
        if path not in self._files:
            self._files[path] = self._new_file(path)
        for each in (path, *self._of_agent(path, agent_id)):
            if each not in session.files and (file := self._file(each)) and file.source():
                session.add(file)
        if not await session.open():
            return None
        await session.catch_up()
        if session.is_elsewhere:
            return None
        session.heard_at = time.monotonic()
        return session

    def _of_agent(self, path: Path, agent_id: str | None) -> Iterable[Path]:
        """Where the transcript of a subagent may stand."""
        if agent_id is not None and _AGENT_ID.fullmatch(agent_id):
            yield path.with_suffix("") / "subagents" / f"agent-{agent_id}.jsonl"
            yield path.with_name(f"agent-{agent_id}.jsonl")

    # What is to be done now and then

    async def _tend(self) -> None:
        beat = 0
        while True:
            await asyncio.sleep(_BEAT_SECONDS)
            beat += 1
            try:
                await self._beat(beat)
            except LeaseLost as error:
                self._lose(error)
            except StoreError as error:
                self._failed(error)
            except Exception:  # one session's fault is not to be the end of them all
                log.exception("%s: not all was done that is to be done now and then", self.root)
                METRICS.incidents.labels(source="ingest").inc()

    async def _beat(self, number: int) -> None:
        await self._keep_marks()
        await self._step_aside()
        self._is_back()
        for session in list(self.sessions.values()):
            session.go_on()
        await self._tell_the_time(number)
        await self._put_down_the_silent()

    async def _keep_marks(self) -> None:
        lease = self._hold.lease if self._hold is not None else None
        if lease is None or not self._unkept:
            return
        unkept, self._unkept = self._unkept, {}
        try:
            await self._store.keep_marks(list(unkept.values()), lease=lease)
        except StoreError:
            self._unkept = unkept | self._unkept
            raise

    async def _step_aside(self) -> None:
        """Leave the sessions alone that a worker has taken, and look again at those that one
        has let go of."""
        leases = await self._store.live_leases()
        self._elsewhere = frozenset(lease.session_id for lease in leases)
        for session in list(self.sessions.values()):
            is_elsewhere = session.is_elsewhere or session.session_id in self._elsewhere
            if session.is_open and is_elsewhere:
                log.info("session %s was taken by a worker", session.session_id)
                await self._put_down(session)
                if self._watching is not None:  # it may have been let go of meanwhile
                    self._watching.suspect(*session.files)
            elif session.is_elsewhere and session.session_id not in self._elsewhere:
                del self.sessions[session.sdk_session_id]

    async def _tell_the_time(self, beat: int) -> None:
        for number, session in enumerate(self._ours()):
            if (number + beat) % _TICK_BEATS == 0:
                await session.tick()

    async def _put_down_the_silent(self) -> None:
        for session in [one for one in self.sessions.values() if one.is_over]:
            await self._put_down(session)
        by_silence = sorted(self._ours(), key=lambda session: session.heard_at)
        now = time.monotonic()
        ended = (self._end(one) for one in by_silence if now - one.heard_at > self._patience(one))
        await asyncio.gather(*ended)
        for session in by_silence[: max(0, len(by_silence) - MOST_SESSIONS)]:
            await self._put_down(session)

    def _patience(self, session: FollowedSession) -> float:
        """For how many seconds a session may be silent."""
        return self._silent if session.supervision.progress.rests else self._silent * _IN_A_TURN

    async def _end(self, session: FollowedSession) -> None:
        await session.ended(f"silent for {self._patience(session) / 60:g} minutes")
        await self._put_down(session)

    async def _put_down(self, session: FollowedSession) -> None:
        await session.put_down()
        if self.sessions.get(session.sdk_session_id) is not session:
            return  # it went on meanwhile: its files are the new one's
        del self.sessions[session.sdk_session_id]
        for path in session.files:
            self._files.pop(path, None)


def _real(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _is_text(path: Path) -> bool:
    """Whether a path is text, and not any bytes: an agent may call a file as it likes."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
