"""`FileKeeping`: checkpoints of a session's working folder at the right moments.

One is taken at each prompt and after each call that may have written, in the background,
while the model thinks. The next call that may write waits until it is there, so that each
place at which the conversation can be cut has a checkpoint of the files as they were.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import shutil
import socket
import time
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import platformdirs

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.lease import Lease
from supervisor.errors import FilesError, StoreError, SupervisorError
from supervisor.files.account import (
    account_of_changes,
    account_of_differences,
    account_of_restore,
)
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot, Limits, Restored
from supervisor.runtime.aftermath import Aftermath, aftermath_of, calls_not_undone, may_write
from supervisor.runtime.fileshelf import MOST_BYTES, FileShelf, snapshot_of
from supervisor.runtime.supervision import Supervision
from supervisor.store.files import FilesRecord
from supervisor.store.interface import Store

__all__ = ["WAIT_SECONDS", "FileKeeping"]

log = logging.getLogger(__name__)

WAIT_SECONDS = 10.0
"""How long a call may wait for a checkpoint. The first one of 5,000 files takes 2 s, later
ones 0.1 s; the SDK gives a hook 60 s, of which a call may be held 45 s for other reasons."""

_LEAVING_SECONDS = 5.0
_UNUSED_DAYS = 30
"""After which a session's checkpoints are removed from this host; the store has them."""

_NOT_UNDONE = (
    "Files you changed and commands you ran since are not undone: check before you rely on either."
)
_RESTORED = (
    "The files in your working folder were brought back to how they were at this point. Ignored "
    "files, and what is outside of the folder, were left as they are:"
)
_KEPT = "The files in your working folder were left as they are. What you did to them since:"
_NOT_RESTORED = (
    "The files in your working folder could not be brought back: they are as you left them."
)
_DIFFER = (
    "The files in your working folder are not as they were when this session was last seen at "
    "work. Look before you rely on them:"
)
_RESTORED_HERE = (
    "The files in your working folder were brought to the state in which this session was last "
    "seen at work:"
)


class _Taken(NamedTuple):
    snapshot: FileSnapshot
    seq: int
    after_call: str | None


class FileKeeping:
    """The file checkpoints of one session. Whatever goes wrong with them stops no agent: it
    becomes an incident, once for each reason."""

    def __init__(
        self,
        supervision: Supervision,
        store: Store,
        cwd: Path,
        *,
        takes: bool,
        lease: Callable[[], Lease | None] = lambda: None,
        folder: Path | None = None,
        limits: Limits | None = None,
        wait_seconds: float = WAIT_SECONDS,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        """`takes`: whether checkpoints are taken; without, calls are still accounted for.
        `folder` is where this host keeps them, by default the user's cache."""
        self._supervision = supervision
        self._store = store
        self._session_id = supervision.session_id
        self._cwd = cwd.resolve()
        self._takes = takes
        self._wait_seconds = wait_seconds
        self._keeps_in_cache = folder is None
        self._folder = folder or _cache() / _name(self._session_id)
        self._checkpoints = FileCheckpoints(self._cwd, self._folder, limits=limits)
        self._shelf = FileShelf(
            store, self._session_id, self._checkpoints, lease=lease, most_bytes=most_bytes
        )
        self._running: dict[str, str | None] = {}
        self._begun = 0
        self._last_call: str | None = None
        self._due = False
        self._refused = False
        self._taking: asyncio.Task[None] | None = None
        self._to_shelve: deque[_Taken] = deque()
        self._shelving: asyncio.Task[None] | None = None
        self._noted: set[str] = set()

    async def begin(self) -> None:
        """Take up what is known of the session. Raises `StoreError`."""
        if not self._takes:
            return
        await self._shelf.load()
        intents = await self._store.intents(self._session_id)
        writing = (intent.call_id for intent in reversed(intents) if may_write(intent.tool))
        self._last_call = next(writing, None)
        if self._keeps_in_cache:
            await asyncio.to_thread(_forget_unused, self._folder)

    # At prompts and around calls

    def turn_began(self) -> None:
        """A prompt was sent. Returns at once."""
        if None in self._running.values():  # it goes into a turn in which calls run
            return
        self._running.clear()
        self._refused = False
        self._take_soon()

    async def before(self, call_id: str, tool: str, agent_id: str | None) -> None:
        """A call is about to run: where it may write, return once the checkpoint of what it
        may change is there, or could not be had within the limit."""
        if not self._takes or not may_write(tool):
            return
        await self._wait()
        self._running[call_id] = agent_id
        self._begun += 1
        self._last_call = call_id

    def ended(self, call_id: str) -> None:
        """A call has its result. Returns at once; harmless for any other call."""
        if call_id not in self._running:
            return
        del self._running[call_id]
        if not self._running:
            self._take_soon()

    def cut_off(self) -> None:
        """No call runs any more, whether it has a result or not. Returns at once."""
        if self._running:
            self._running.clear()
            self._take_soon()

    async def close(self) -> None:
        """Let what is under way come to its end, for some seconds."""
        try:
            async with asyncio.timeout(_LEAVING_SECONDS):
                await self._settled()
        except TimeoutError:
            await self._note(f"the last checkpoint took over {_LEAVING_SECONDS:.0f} s: not kept")
        for task in (self._taking, self._shelving):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

    # When the conversation goes back, or goes on elsewhere

    async def roll_back(self, checkpoint: Checkpoint, *, restore: bool) -> str:
        """Go back to a checkpoint of the transcript, with the agent stopped: `restore` the
        files, or leave them. Returns what the agent is to be told: what was done to them,
        and which calls are not undone. Empty where it made none that could write."""
        self.cut_off()
        await self._settled()
        try:
            aftermath = await aftermath_of(self._store, checkpoint)
        except SupervisorError as error:
            await self._note(f"what a rollback leaves behind cannot be told: {error}")
            return _NOT_UNDONE
        if not aftermath.calls:
            return ""
        try:
            files, restored = await self._bring_back(aftermath, restore=restore)
        except SupervisorError as error:
            await self._note(f"files were not brought back: {error}")
            files, restored = _NOT_RESTORED if restore else "", False
        self._take_soon()
        told = calls_not_undone(aftermath.calls, self._cwd if restored else None)
        return "\n".join(filter(None, [files, told]))

    async def on_resume(self, restore: bool | None = None) -> str:
        """The session goes on, maybe on another host or in another folder, before its agent
        is started: returns what the agent is to be told of its files.

        `restore` brings them to the newest checkpoint, None only where the folder is empty.
        Raises `FilesError` where they are to be and cannot.
        """
        if restore:
            return await self.restore_on_resume()
        is_empty = await asyncio.to_thread(_is_empty, self._cwd)
        if restore is None and is_empty and await self._newest() is not None:
            try:
                return await self.restore_on_resume()
            except FilesError as error:
                await self._note(f"files were not brought to an empty folder: {error}")
        return await self.differences_on_resume()

    async def differences_on_resume(self) -> str:
        """What differs between the session's newest checkpoint and the folder as it is, for
        the agent; empty where nothing does or there is no checkpoint."""
        newest = await self._newest()
        if newest is None:
            return ""
        try:
            changes = await self._checkpoints.changes(await self._shelf.bring(newest))
        except FilesError as error:
            await self._note(f"the files cannot be compared with the last checkpoint: {error}")
            return ""
        return f"{_DIFFER}\n{account_of_differences(changes)}" if changes else ""

    async def restore_on_resume(self) -> str:
        """Bring the folder to the session's newest checkpoint; returns what the agent is to
        be told.

        In another folder than it was taken of, what may be another's is kept: a file is
        overwritten or removed only where some checkpoint of this session has it as it is.
        Raises `FilesError` where there is no checkpoint, or it cannot be brought here.
        """
        newest = await self._newest()
        if newest is None:
            raise FilesError(
                f"session {self._session_id!r} has no checkpoint of files; its policy is to say "
                "`files: checkpoints`"
            )
        snapshot = await self._shelf.bring(newest)
        ours = None if self._is_here(newest) else await self._ours()
        restored = await self._checkpoints.restore(snapshot, ours=ours)
        await self._keep_before(restored, snapshot)
        return f"{_RESTORED_HERE}\n{account_of_restore(restored)}"

    async def _newest(self) -> FilesRecord | None:
        await self._shelf.load()
        return self._shelf.records[-1] if self._shelf.records else None

    def _is_here(self, record: FilesRecord) -> bool:
        return record.host == socket.gethostname() and snapshot_of(record).cwd == str(self._cwd)

    async def _ours(self) -> list[FileSnapshot]:
        """Every checkpoint of the session that can be had."""
        found: dict[str, FileSnapshot] = {}
        for record in self._shelf.records:
            if record.snapshot_id not in found and await self._checkpoints.has(record.snapshot_id):
                found[record.snapshot_id] = snapshot_of(record)
        return list(found.values())

    async def _bring_back(self, aftermath: Aftermath, *, restore: bool) -> tuple[str, bool]:
        """What to say of the files, and whether they were brought back."""
        taken = [r for r in self._shelf.records if r.after_call == aftermath.after_call]
        if not taken:
            if restore:
                raise FilesError("there is no checkpoint of them as they were")
            return "", False
        snapshot = await self._shelf.bring(taken[-1])
        if not restore:
            changes = await self._checkpoints.changes(snapshot)
            return f"{_KEPT}\n{account_of_changes(changes)}" if changes else "", False
        restored = await self._checkpoints.restore(snapshot)
        await self._keep_before(restored, snapshot)
        return f"{_RESTORED}\n{account_of_restore(restored)}", True

    async def _keep_before(self, restored: Restored, snapshot: FileSnapshot) -> None:
        """Nothing that a restore took away is lost, elsewhere neither; and what it was for
        is the newest again."""
        if restored.changes:
            for one in (restored.before, snapshot):
                await self._put(_Taken(one, self._supervision.seq, self._last_call))

    # Taking and keeping

    def _take_soon(self) -> None:
        if not self._takes or self._refused:
            return
        self._due = True
        if self._taking is None or self._taking.done():
            self._taking = asyncio.create_task(self._guarded(self._take()))

    async def _take(self) -> None:
        """Checkpoint the folder, and again if that was asked for meanwhile. A checkpoint
        during which a call began to write is of no place in the conversation: dropped."""
        while self._due:
            self._due = False
            begun, seq = self._begun, self._supervision.seq
            snapshot = await self._checkpoints.take()
            if snapshot is None:
                self._refused = True
                await self._note(f"files are not checkpointed: {self._checkpoints.refusal}")
            elif begun == self._begun and not self._running:
                self._shelve(_Taken(snapshot, seq, self._last_call))

    async def _wait(self) -> None:
        taking = self._taking
        if taking is None or taking.done():
            return
        try:
            async with asyncio.timeout(self._wait_seconds):
                await asyncio.shield(taking)
        except TimeoutError:
            await self._note(
                f"a checkpoint took over {self._wait_seconds:g} s, and the agent went on: files "
                "cannot be brought back to where it was then"
            )

    def _shelve(self, taken: _Taken) -> None:
        self._to_shelve.append(taken)
        if self._shelving is None or self._shelving.done():
            self._shelving = asyncio.create_task(self._guarded(self._shelve_all()))

    async def _shelve_all(self) -> None:
        while self._to_shelve:
            await self._put(self._to_shelve.popleft())

    async def _put(self, taken: _Taken) -> None:
        last = self._shelf.records[-1] if self._shelf.records else None
        if last and (last.snapshot_id, last.after_call) == (taken.snapshot.id, taken.after_call):
            return
        try:
            await self._shelf.put(taken.snapshot, seq=taken.seq, after_call=taken.after_call)
        except (FilesError, StoreError) as error:
            await self._note(f"a checkpoint of files is kept on this host alone: {error}")
        if self._shelf.is_full:
            await self._note(
                f"checkpoints of files are kept on this host alone from here on: the session has "
                f"over {self._shelf.most_bytes / 2**20:.0f} MB of them in the store"
            )

    async def _settled(self) -> None:
        if self._taking is not None:
            await asyncio.shield(self._taking)
        if self._shelving is not None:
            await asyncio.shield(self._shelving)

    async def _guarded(self, work: Awaitable[None]) -> None:
        try:
            await work
        except Exception as error:  # no fault in here may stop an agent
            log.exception("session %s: file checkpoints", self._session_id)
            await self._note(f"file checkpoints failed, please report this: {error!r}")

    async def _note(self, reason: str) -> None:
        if reason not in self._noted:
            self._noted.add(reason)
            await self._supervision.note("files", reason)


def _cache() -> Path:
    return platformdirs.user_cache_path("lucid", appauthor=False) / "files"


def _name(session_id: str) -> str:
    return hashlib.sha256(session_id.encode(errors="replace")).hexdigest()[:32]


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _forget_unused(folder: Path) -> None:
    """Mark a session's folder as used, and remove those that were not for long."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.utime(folder)
    oldest = time.time() - _UNUSED_DAYS * 24 * 3600
    for other in folder.parent.iterdir():
        with suppress(OSError):
            if other.is_dir() and other.stat().st_mtime < oldest:
                shutil.rmtree(other, ignore_errors=True)
