"""`Backlog`: what waits for the store, of one session, in order, on local disk."""

from __future__ import annotations

import hashlib
import logging
from collections import deque
from pathlib import Path
from typing import Literal, Self
from uuid import uuid4

import msgspec

from supervisor.core.lease import Lease
from supervisor.errors import StoreAway
from supervisor.store.spool_file import SpoolFile, spool_files

__all__ = ["Backlog", "leftovers"]

log = logging.getLogger(__name__)

MOST_IN_MEMORY = 256 * 1024 * 1024
"""Bytes that wait in memory at most, where the local disk is full too. An agent that pauses
produces a few megabytes until its next tool call."""


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a file begins with: whose operations these are."""

    version: Literal[1] = 1
    store: str
    lease: Lease
    """Under which they are done; what another worker wrote since is not overwritten."""


class Backlog:
    """First in, first out. Its methods block: call them in one thread of its own.

    What is added is on disk when `add` returns. Where the local disk is full too, it waits
    in memory and goes to disk with the first addition that finds room.
    """

    def __init__(self, folder: Path, store: str, lease: Lease) -> None:
        self.lease = lease
        self._folder = folder
        self._store = store
        self._file: SpoolFile | None = None
        self._memory: deque[bytes] = deque()
        self._refused: SpoolFile | None = None
        self._disk_failed = False

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """What a process that is gone has left in a file; None where it is not gone, or the
        file is not one of these. Raises `OSError`."""
        file = SpoolFile.adopt(path)
        if file is None:
            return None
        try:
            header = msgspec.json.decode(file.next() or b"", type=_Header)
        except msgspec.MsgspecError:
            log.error("%s is no spool file that this Lucid can read; it is left as it is", path)
            file.close()
            return None
        file.skip()
        backlog = cls(path.parent, header.store, header.lease)
        backlog._file = file
        return backlog

    def add(self, record: bytes) -> None:
        """Add behind all others. Raises `StoreAway` where there is no room at all."""
        if sum(map(len, self._memory)) + len(record) > MOST_IN_MEMORY:
            raise StoreAway(
                f"the store is away, and so is the disk of {self._folder}, and memory holds "
                f"{MOST_IN_MEMORY >> 20} MiB for it already; free some space there"
            )
        self._memory.append(record)
        try:
            self._own_file().add(self._memory)
        except OSError as error:
            self._say_disk_failed(error)
        else:
            self._memory.clear()

    def first(self) -> bytes | None:
        """The record of the operation that is to be done next; None where there is none."""
        record = self._file.next() if self._file is not None else None
        if record is None and self._memory:
            return self._memory[0]
        return record

    def drop_first(self) -> None:
        """The first operation is done with."""
        if self._file is not None and self._file.next() is not None:
            self._file.skip()
        else:
            self._memory.popleft()

    def refuse_first(self) -> Path | None:
        """Keep the first operation aside for a person, and drop it; returns where it will
        be, or None where the disk fails and it is lost."""
        record = self.first()
        assert record is not None
        self.drop_first()
        try:
            if self._refused is None:
                self._refused = self._new_file()
            self._refused.add([record])
        except OSError as error:
            self._say_disk_failed(error)
            return None
        return self._refused.path_aside

    def clear(self) -> None:
        """Remove the file, unless something is left to do."""
        if self.first() is not None:
            return
        file, self._file = self._file, None
        if file is not None:
            file.remove()
        self._close_refused()

    def set_aside(self) -> Path | None:
        """Keep what is left for a person, to whom alone it is of use now; returns where it
        is, or None where the disk fails and it is lost."""
        file = self._let_go()
        return file.set_aside() if file is not None else None

    def leave(self) -> Path | None:
        """Let go of the file, for the next process; returns where it is, or None where the
        disk fails and what waits is lost."""
        file = self._let_go()
        if file is None:
            return None
        file.close()
        return file.path

    def _let_go(self) -> SpoolFile | None:
        """The file, with all on it that the disk takes."""
        if self._memory:
            try:
                self._own_file().add(self._memory)
            except OSError as error:
                self._say_disk_failed(error)
                log.error(
                    "session %s: %d operations that waited in memory are lost",
                    self.lease.session_id,
                    len(self._memory),
                )
            self._memory.clear()
        file, self._file = self._file, None
        self._close_refused()
        return file

    @property
    def torn(self) -> int:
        """Bytes at the end of the file that are no whole operation, once all are done."""
        return self._file.unread if self._file is not None else 0

    def _own_file(self) -> SpoolFile:
        if self._file is None:
            self._file = self._new_file()
        return self._file

    def _new_file(self) -> SpoolFile:
        name = f"{_beginning(self._store, self.lease.session_id)}{uuid4().hex[:8]}"
        header = _Header(store=self._store, lease=self.lease)
        return SpoolFile.create(self._folder / name, header=msgspec.json.encode(header))

    def _close_refused(self) -> None:
        refused, self._refused = self._refused, None
        if refused is not None:
            refused.set_aside()

    def _say_disk_failed(self, error: OSError) -> None:
        if not self._disk_failed:
            log.error(
                "session %s: what waits for the store cannot be written to %s (%s); it waits in "
                "memory and is lost with this process; free some space there",
                self.lease.session_id,
                self._folder,
                error.strerror or error,
            )
        self._disk_failed = True


def leftovers(folder: Path, store: str, session_id: str | None = None) -> list[Path]:
    """The files of this store, of one session of it or of all, that some process made."""
    return spool_files(folder, _beginning(store, session_id))


def _beginning(store: str, session_id: str | None) -> str:
    """How the names of files begin: ids may hold anything, and an address is long."""
    parts = [store] if session_id is None else [store, session_id]
    digests = (hashlib.sha256(part.encode(errors="replace")).hexdigest() for part in parts)
    return "".join(f"{digest[:16]}-" for digest in digests)
