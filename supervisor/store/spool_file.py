"""`SpoolFile`: records on local disk, in order, each with its length and checksum.

One process has a file at a time, by a lock that dies with it. What was being written when
a process or the machine went down is recognised and left out; all before it is whole.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import Self

__all__ = ["SpoolFile", "spool_files"]

_ENDING = ".spool"
_ASIDE = ".refused"
_HEAD = 17
"""Bytes before a record's content: checksum and length, eight hexadecimal digits each, and
a space, so that a person can read a file of records that are text."""


def spool_files(folder: Path, beginning: str) -> list[Path]:
    """The files whose names begin so and that were not set aside, oldest first."""
    found = [path for path in folder.glob(f"{beginning}*{_ENDING}") if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_mtime_ns)


class SpoolFile:
    """One file of records. Methods raise `OSError` where the disk fails, and block."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self._position = 0
        self._end = os.fstat(descriptor).st_size

    @classmethod
    def create(cls, path: Path, *, header: bytes) -> Self:
        """A new file whose first record is `header`, for its owner only."""
        path = path.with_name(path.name + _ENDING)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        file = cls(path, descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file.add([header])
            _sync(path.parent)
        except BaseException:
            file.remove()
            raise
        file.skip()
        return file

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """A file that a process which is gone has left, read from its header on; None where
        another process has it, or had it until now."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return cls(path, descriptor)
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(descriptor)
        return None

    def add(self, records: Iterable[bytes]) -> None:
        """Add records; they are on disk when this returns, or none is in the file."""
        data = b"".join(_framed(record) for record in records)
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._descriptor, data[written:], self._end + written)
            os.fsync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._end)
            raise
        self._end += len(data)

    def next(self) -> bytes | None:
        """The record that is next to be read; None at the end, or where a torn one is."""
        head = os.pread(self._descriptor, _HEAD, self._position)
        try:
            checksum, length = int(head[:8], 16), int(head[8:16], 16)
        except ValueError:
            return None
        record = os.pread(self._descriptor, length, self._position + _HEAD)
        if len(record) < length or zlib.crc32(record) != checksum:
            return None
        return record

    def skip(self) -> None:
        """Go on to the record after the next one."""
        length = int(os.pread(self._descriptor, _HEAD, self._position)[8:16], 16)
        self._position += _HEAD + length + 1

    @property
    def unread(self) -> int:
        """Bytes from here to the end."""
        return max(0, self._end - self._position)

    def set_aside(self) -> Path:
        """Keep the file for a person, where it is not taken for one to be read any more;
        returns where."""
        self.path.rename(self.path_aside)
        self.close()
        return self.path_aside

    @property
    def path_aside(self) -> Path:
        """Where the file is once it was set aside."""
        return self.path.with_suffix(_ASIDE)

    def remove(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; another process may have it then."""
        os.close(self._descriptor)


def _framed(record: bytes) -> bytes:
    return b"%08x%08x %s\n" % (zlib.crc32(record), len(record), record)


def _sync(folder: Path) -> None:
    """Have a folder's new names on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
