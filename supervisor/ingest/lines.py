"""`LineFile`: the lines of a transcript file, as they are appended to it.

It knows lines and places, nothing of what is in them. Memory is bounded by one chunk and
the longest line allowed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from hashlib import blake2b
from pathlib import Path

import msgspec

from supervisor.errors import TranscriptError

__all__ = ["MAX_LINE", "Fault", "Line", "LineFile", "Place", "read_finished"]

MAX_LINE = 32 * 1024 * 1024
"""Bytes. The Messages API takes requests of up to 32 MB, so no longer line can be resumed."""

_CHUNK = 256 * 1024
_FINGERPRINT = 1024
"""Bytes from the start by which a file is known again; a transcript's first line holds a
uuid and a timestamp."""

_Stamp = tuple[int, int, int, int]

_WELL_FORMED = msgspec.json.Decoder(msgspec.Raw)


class Line(msgspec.Struct, frozen=True):
    """One complete line, without its newline, and where it stands."""

    number: int
    """From 1."""
    offset: int
    """Bytes from the start of the file."""
    raw: bytes


class Fault(msgspec.Struct, frozen=True):
    """What could not be read, where it stands and why. The rest of the file is read."""

    number: int
    offset: int
    length: int
    """Bytes that are left out; 0 where none are."""
    message: str


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """How far a file was read, for a later process to go on from there."""

    offset: int
    """Bytes from the start to the first line that was not read."""
    number: int
    """That line's, from 1."""
    fingerprint: str
    """Hex digest of the first bytes, by which the file is known again."""
    fingerprinted: int
    """How many bytes those are."""


class LineFile:
    """Follows one file. Empty lines are passed over; a missing file is waited for."""

    def __init__(
        self,
        path: Path,
        *,
        max_line: int = MAX_LINE,
        place: Place | None = None,
        follow_link: bool = True,
    ) -> None:
        """`max_line` is in bytes; longer lines are skipped and never held. Reading begins
        at `place`, unless that is another file's by now, or at the start. Without
        `follow_link` a symbolic link cannot be read."""
        self.path = path
        # Something else of that name, such as a pipe, must not keep us waiting.
        self._flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
        self._flags |= 0 if follow_link else os.O_NOFOLLOW
        self._follows_link = follow_link
        self._read_out: _Stamp | None = None
        self._max_line = max_line
        self._restart()
        if place is not None:
            self._number, self._offset = place.number, place.offset
            self._fingerprint, self._fingerprinted = place.fingerprint, place.fingerprinted

    def _restart(self) -> None:
        self._number = 1
        self._offset = 0
        self._held = bytearray()
        self._length = 0
        self._inode: tuple[int, int] | None = None
        self._fingerprint = ""
        self._fingerprinted = 0

    @property
    def pending(self) -> int:
        """Bytes of the last line that no newline has ended yet."""
        return self._length

    @property
    def place(self) -> Place:
        """Behind the last line that was given."""
        return Place(
            offset=self._offset,
            number=self._number,
            fingerprint=self._fingerprint,
            fingerprinted=self._fingerprinted,
        )

    @property
    def is_read_out(self) -> bool:
        """Whether the last reading came to the end of what was there."""
        return self._read_out is not None

    def read_new(self) -> Iterator[Line | Fault]:
        """What was appended since the last call, complete lines only.

        A file that shrank or was replaced yields a fault and is read from its start.
        Stopping in the middle is safe: the next call goes on with the next line.
        Raises `TranscriptError` where the file is there and cannot be read.
        """
        if self._is_unchanged():
            return
        try:
            descriptor = os.open(self.path, self._flags)
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._unreadable(error) from error
        try:
            yield from self._read(descriptor)
        except OSError as error:
            raise self._unreadable(error) from error
        finally:
            os.close(descriptor)

    def _is_unchanged(self) -> bool:
        """Whether it is as it was when it was read out. To open a file to learn that would
        wake whoever watches the folder, this process first of all."""
        if self._read_out is None:
            return False
        try:
            found = os.stat(self.path, follow_symlinks=self._follows_link)
        except OSError:
            return False
        return _stamp(found) == self._read_out

    def _unreadable(self, error: OSError) -> TranscriptError:
        return TranscriptError(
            f"{self.path} cannot be read: {error.strerror}; check the path and its permissions"
        )

    def take_rest(self) -> Line | Fault | None:
        """The unterminated last line of a file that is finished: a line if it is whole
        JSON, a fault if it is not, None if there is none. Call it after `read_new`."""
        if not self._length:
            return None
        if self._length <= self._max_line and _is_json(self._held):
            return self._end_line(b"", newline=0)
        return Fault(
            self._number,
            self._offset,
            self._length,
            f"the last line of {self._length:,} bytes is unfinished: its writer was stopped "
            "or is at work",
        )

    def _read(self, descriptor: int) -> Iterator[Line | Fault]:
        status, self._read_out = os.fstat(descriptor), None
        inode, start = (status.st_dev, status.st_ino), os.pread(descriptor, _FINGERPRINT, 0)
        message = self._changed(inode, start, status.st_size)
        fault = Fault(self._number, self._offset, 0, message) if message else None
        if fault is not None:
            self._restart()
        self._inode = inode
        if len(start) > self._fingerprinted:
            self._fingerprint, self._fingerprinted = _fingerprint(start), len(start)
        if fault is not None:
            yield fault
        at = self._offset + self._length
        while at < status.st_size and (chunk := os.pread(descriptor, _CHUNK, at)):
            at += len(chunk)
            yield from self._split(chunk)
        self._read_out = _stamp(status)

    def _changed(self, inode: tuple[int, int], start: bytes, size: int) -> str | None:
        """Why this is not the file that was read before, grown; None if it is."""
        seen = self._offset + self._length
        if not seen:
            return None
        if size < seen:
            return f"the file shrank from {seen:,} to {size:,} bytes: it is read from its start"
        is_other = self._inode is not None and inode != self._inode
        if is_other or _fingerprint(start[: self._fingerprinted]) != self._fingerprint:
            return "the file was replaced by another, which is read from its start"
        return None

    def _split(self, chunk: bytes) -> Iterator[Line | Fault]:
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            ended = self._end_line(chunk[start:end])
            start = end + 1
            if ended is not None:
                yield ended
        self._hold(chunk[start:])

    def _hold(self, piece: bytes) -> None:
        self._length += len(piece)
        if self._length > self._max_line:
            self._held.clear()
        else:
            self._held += piece

    def _end_line(self, piece: bytes, newline: int = 1) -> Line | Fault | None:
        self._hold(piece)
        number, offset, length, raw = self._number, self._offset, self._length, bytes(self._held)
        self._held.clear()
        self._length = 0
        self._offset += length + newline
        self._number += 1
        if length > self._max_line:
            message = f"a line of {length:,} bytes is skipped: the most is {self._max_line:,}"
            return Fault(number, offset, length, message)
        if not raw or raw.isspace():
            return None
        return Line(number, offset, raw)


def read_finished(path: Path) -> Iterator[Line | Fault]:
    """All of a file that nobody writes to any more, its last line too."""
    file = LineFile(path)
    yield from file.read_new()
    if (rest := file.take_rest()) is not None:
        yield rest


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _fingerprint(start: bytes) -> str:
    return blake2b(start, digest_size=16).hexdigest()


def _is_json(raw: bytes | bytearray) -> bool:
    try:
        _WELL_FORMED.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return False
    return True
