"""`FileCheckpoints`: an agent's working folder, checkpointed and brought back."""

from __future__ import annotations

import asyncio
import fcntl
import os
import tempfile
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import msgspec

from supervisor.errors import FilesError
from supervisor.files.git import Git, find_git
from supervisor.files.model import FileChanges, FileSnapshot, Limits, Restored
from supervisor.files.objects import Objects
from supervisor.files.restore import Restore
from supervisor.files.rules import Rules
from supervisor.files.stage import Stage
from supervisor.files.tree import changes_between

__all__ = ["FileCheckpoints"]

_CHUNK = 1024 * 1024
_FORMAT = 1


class _Header(msgspec.Struct, frozen=True):
    """The first line of an export; a pack of git's follows."""

    lucid_files: int
    snapshot: FileSnapshot
    since: str | None = None


class _Parts(NamedTuple):
    git: Git
    objects: Objects
    stage: Stage


class FileCheckpoints:
    """The file checkpoints of one session's working folder.

    Everything is kept in `store_dir`, which lies outside the folder, is made where need
    be and belongs to one session; a store found there is gone on with. In a git work tree
    a checkpoint holds what git tracks and what it does not ignore, as it is on disk; in
    any other folder what no `.gitignore` names; and never what `names.LEFT_OUT` lists,
    unless git tracks it. The user's `.git` is not written to.

    One call at a time works on a store; others wait, those of other processes fail.
    """

    def __init__(
        self,
        cwd: Path,
        store_dir: Path,
        *,
        limits: Limits | None = None,
        seconds: float = 120.0,
    ) -> None:
        """`limits` are the usual ones of a folder or a repository where not given.
        `seconds` is what one git command may take before it is killed; the default is
        five times what the first checkpoint of the largest folder allowed took."""
        self.refusal: str | None = None
        """Why the last `take` gave none."""
        self._root = cwd.resolve()
        self._store_dir = store_dir.resolve()
        self._limits = limits
        self._seconds = seconds
        self._parts: _Parts | None = None
        self._turn = asyncio.Lock()

    async def take(self) -> FileSnapshot | None:
        """Checkpoint the folder. The same files give the same id, and cost little.

        None where it cannot be done; `refusal` says why.
        """
        try:
            async with self._opened() as parts:
                snapshot = await parts.objects.snapshot(await parts.stage.store(), self._root)
        except FilesError as error:
            self.refusal = str(error)
            return None
        self.refusal = None
        return snapshot

    async def changes(self, since: FileSnapshot) -> FileChanges:
        """What differs between a snapshot and the folder as it is now.

        Raises `FilesError` where the snapshot is unknown or the folder cannot be read.
        """
        async with self._opened() as parts:
            old = await parts.objects.contents(since.id)
            staged = await parts.stage.store(also=old.files)
            now = await parts.objects.snapshot(staged, self._root)
            new = await parts.objects.contents(now.id)
        return changes_between(old.files, new.files, old.left_out | new.left_out)

    async def has(self, snapshot_id: str) -> bool:
        """Whether all of a snapshot is in this store. Raises `FilesError` where the store
        cannot be read."""
        async with self._opened() as parts:
            return await parts.objects.holds(snapshot_id)

    async def restore(
        self, snapshot: FileSnapshot, *, ours: Iterable[FileSnapshot] | None = None
    ) -> Restored:
        """Bring the folder to a snapshot: changed and deleted files are brought back,
        files created since are removed.

        Ignored files, repositories inside and everything outside are not touched. What is
        removed or overwritten is checkpointed first, so that restoring `before` undoes
        this. A file that cannot be brought to the snapshot is `kept`.

        In a folder that may hold what is another's, `ours` says what is not: a file is
        overwritten or removed only where one of these snapshots has it as it is now.

        Raises `FilesError` where a snapshot is unknown or incomplete, or the folder cannot be
        checkpointed; nothing was changed then.
        """
        known = None if ours is None else {one.id for one in ours}
        async with self._opened() as parts:
            restore = Restore(self._root, parts.objects, parts.stage, snapshot.id, known)
            return await restore.run()

    async def export(
        self, snapshot: FileSnapshot, since: FileSnapshot | None = None
    ) -> AsyncIterator[bytes]:
        """A snapshot as bytes, in chunks of at most 1 MiB, to be kept elsewhere.

        With `since` only what differs from that one, which is to be imported before.
        Raises `FilesError` where one of them is unknown.
        """
        header = _Header(_FORMAT, snapshot, since.id if since else None)
        with tempfile.TemporaryFile(buffering=0) as file:
            async with self._opened() as parts:
                for known in (snapshot, since):
                    if known is not None:
                        await parts.objects.require(known.id)
                file.write(msgspec.json.encode(header) + b"\n")
                await parts.objects.pack(snapshot.id, header.since, file)
            file.seek(0)
            while chunk := await asyncio.to_thread(file.read, _CHUNK):
                yield chunk

    async def import_(self, data: bytes | AsyncIterable[bytes]) -> FileSnapshot:
        """Take over what `export` gave, on this host or another; returns the snapshot.

        Raises `FilesError` where it is damaged, or the one it builds on is not here.
        """
        with tempfile.TemporaryFile(buffering=0) as file:
            async for chunk in _chunks(data):
                await asyncio.to_thread(file.write, chunk)
            file.seek(0)
            header = _read_header(file)
            async with self._opened() as parts:
                if header.since is not None:
                    await parts.objects.require(header.since)
                await parts.objects.unpack(file)
                await parts.objects.check(header.snapshot.id)
        return header.snapshot

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[_Parts]:
        async with self._turn:
            try:
                with self._locked() as lock_file:
                    parts = self._parts or await self._prepared()
                    parts.git.lock_file = lock_file
                    yield parts
            except OSError as error:
                raise FilesError(f"file checkpoints in {self._store_dir}: {error}") from error

    async def _prepared(self) -> _Parts:
        repository = self._store_dir / "git"
        git = Git(find_git(), repository, self._seconds)
        objects = Objects(git, repository)
        await objects.prepare()
        rules = Rules(git, repository)
        stage = Stage(git, self._root, self._store_dir / "index", rules, self._limits)
        self._parts = _Parts(git, objects, stage)
        return self._parts

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Keep other processes out, such as a former owner of the session."""
        if self._store_dir.is_relative_to(self._root):
            raise FilesError(
                f"the checkpoints of {self._root} cannot be kept in it, as {self._store_dir}"
            )
        self._store_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._store_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(descriptor, self._store_dir)
            yield descriptor
        finally:
            os.close(descriptor)


def _lock(descriptor: int, store_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise FilesError(f"another process uses the checkpoints in {store_dir}") from None


async def _chunks(data: bytes | AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    async for chunk in data:
        yield chunk


def _read_header(file: IO[bytes]) -> _Header:
    try:
        header = msgspec.json.decode(file.readline(_CHUNK), type=_Header)
    except msgspec.DecodeError as error:
        raise FilesError(f"this is no export of file checkpoints: {error}") from error
    if header.lucid_files != _FORMAT:
        raise FilesError(f"this export has format {header.lucid_files}; this Lucid reads {_FORMAT}")
    return header
