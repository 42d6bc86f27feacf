"""`FollowedFile`: one transcript file on its way into the store, and how far it got."""

from __future__ import annotations

import logging
import os
import re
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path

import msgspec
from claude_agent_sdk import SessionKey

from supervisor.errors import TranscriptError
from supervisor.ingest.discover import Source, source_of
from supervisor.ingest.lines import Fault, Line, LineFile, Place
from supervisor.store.codec import identify
from supervisor.store.folders import FileMark

__all__ = ["FollowedFile", "Part"]

log = logging.getLogger(__name__)

_PART_LINES = 500
_PART_BYTES = 1024 * 1024
"""Read and stored at once: some tens of milliseconds' work."""
_NEAR_BYTES = 64 * 1024
"""Read and looked through in less than a millisecond: not worth waiting for a turn."""


class _Stamped(msgspec.Struct):
    timestamp: datetime | None = None


class _Cwd(msgspec.Struct):
    cwd: str | None = None


_SESSION_ID = re.compile(r"[\w.-]{1,200}")
"""One that any database takes, and that names no path."""
_STAMPED = msgspec.json.Decoder(_Stamped)
_CWD = msgspec.json.Decoder(_Cwd)


class Part(msgspec.Struct, frozen=True):
    """The next lines of a file, all history or none."""

    lines: tuple[Line, ...]
    faults: tuple[Fault, ...]
    inherited: bool
    """They are history: known, and not judged."""
    place: Place
    """Behind them."""

    @property
    def size(self) -> int:
        """Bytes of its lines."""
        return sum(len(line.raw) for line in self.lines)

    @property
    def folder(self) -> Path | None:
        """Where the agent was at work when it wrote the first line that says so."""
        for line in self.lines:
            try:
                cwd = _CWD.decode(line.raw).cwd
            except (ValueError, RecursionError):
                continue
            if cwd is not None and Path(cwd).is_absolute() and "\0" not in cwd:
                return Path(cwd)
        return None

    @property
    def origin(self) -> str | None:
        """The SDK session id that the first copied line was copied from."""
        forks = (identify(line.raw).forked_from for line in self.lines)
        return next((fork.session_id for fork in forks if fork is not None), None)


class FollowedFile:
    """Reads one file in parts. A part is given again until it was taken."""

    def __init__(
        self, path: Path, name: str, mark: FileMark | None, *, history_until: datetime
    ) -> None:
        """`name` is the path below the followed folder. Lines from before `history_until` are
        history in a file of which no mark is kept."""
        self.path = path
        self.name = name
        self.mark = mark
        """How far it was taken; None where nothing of it was."""
        self._history_until = history_until if mark is None else None
        self._begin()
        self._left_until: datetime | None = None
        self._parts: deque[Part] = deque()
        self._source: Source | None = None

    def _begin(self) -> None:
        """Begin, or begin anew, behind what was taken."""
        place = _place(self.mark) if self.mark is not None else None
        self._lines = LineFile(self.path, place=place, follow_link=False)
        self._is_from_start = self.mark is None
        self._has_old = False

    def source(self) -> Source | None:
        """What it is a transcript of; None where that is not to be seen, or not yet."""
        if self._source is None:
            self._source = _source_of(self.path)
        return self._source

    @property
    def is_near_end(self) -> bool:
        """Whether little is left to be taken, or nothing is there."""
        taken = self.mark.offset if self.mark is not None else 0
        try:
            size = os.stat(self.path, follow_symlinks=False).st_size
        except OSError:
            return True
        return size - taken <= _NEAR_BYTES

    @property
    def has_much(self) -> bool:
        """Whether more is known to be there than the part that was given last."""
        return len(self._parts) > 1 or not self._lines.is_read_out

    @property
    def key(self) -> SessionKey:
        """The transcript's key in the store. Only where there is a `source`."""
        assert self._source is not None
        key = SessionKey(
            project_key=self._source.project_key or "", session_id=self._source.session_id
        )
        if self._source.subpath:
            key["subpath"] = self._source.subpath
        return key

    def next_part(self) -> Part | None:
        """What comes next, if there is something. Blocks on the file; raises
        `TranscriptError` where it cannot be read."""
        if not self._parts:
            found = list(_bounded(self._lines.read_new()))
            self._parts.extend(self._parted(found))
        return self._parts[0] if self._parts else None

    def skip(self) -> None:
        """Pass over what is there: somebody else has stored it."""
        while self.next_part() is not None:
            self._parts.clear()
        self._history_until = None

    def leave_to_worker(self, until: datetime) -> None:
        """A worker ran the session until then, and has stored what was written by then. From
        what was taken last, that is history; of its lines those without a uuid, by which the
        worker's are known, are passed over."""
        if self._left_until == until:
            return
        self._left_until = until
        self._history_until = max(until, self._history_until or until)
        self._parts.clear()
        self._begin()

    def taken(self, session_id: str, judged: int) -> None:
        """The last part is stored and judged, up to that entry of the session."""
        place = self._parts.popleft().place
        self.mark = FileMark(
            path=self.name,
            offset=place.offset,
            number=place.number,
            fingerprint=place.fingerprint,
            fingerprinted=place.fingerprinted,
            session_id=session_id,
            judged=judged,
        )

    def _parted(self, found: list[Line | Fault]) -> Iterator[Part]:
        """What was read, as one part, or as two where history ends in it."""
        old = self._count_history(found)
        if old:
            behind = found[old] if old < len(found) else None
            past = found[:old]
            if self._left_until is not None and self._has_old:
                past = [item for item in past if isinstance(item, Fault) or _has_uuid(item.raw)]
            yield _part(past, True, self._place_at(behind))
        if found[old:]:
            yield _part(found[old:], False, self._lines.place)

    def _count_history(self, found: list[Line | Fault]) -> int:
        """How many of these are history: all before the first line that was written since. A
        line that does not say when it was is of the same time as the one before it."""
        if self._history_until is None:
            return 0
        count = len(found)
        for number, item in enumerate(found):
            at = _time_of(item.raw) if isinstance(item, Line) else None
            if at is not None and at >= self._history_until:
                self._history_until = None
                count = number
                break
            self._has_old |= at is not None
        return count if self._is_from_start or self._has_old else 0

    def _place_at(self, item: Line | Fault | None) -> Place:
        place = self._lines.place
        if item is None:
            return place
        return msgspec.structs.replace(place, offset=item.offset, number=item.number)


def _part(found: list[Line | Fault], inherited: bool, place: Place) -> Part:
    return Part(
        lines=tuple(item for item in found if isinstance(item, Line)),
        faults=tuple(item for item in found if isinstance(item, Fault)),
        inherited=inherited,
        place=place,
    )


def _place(mark: FileMark) -> Place:
    return Place(
        offset=mark.offset,
        number=mark.number,
        fingerprint=mark.fingerprint,
        fingerprinted=mark.fingerprinted,
    )


def _source_of(path: Path) -> Source | None:
    """As `source_of`; but whose subagent it is must stand in a file that does not say it by
    where it is (CLI 2.0), and what it says must be an id."""
    try:
        source = source_of(path)
    except TranscriptError as error:
        log.warning("not followed: %s", error)
        return None
    if source is None or not _SESSION_ID.fullmatch(source.session_id):
        return None
    if not path.stem.startswith("agent-"):
        return source
    return source if source.session_id != path.stem else None


def _bounded(lines: Iterator[Line | Fault]) -> Iterator[Line | Fault]:
    size = 0
    for item in islice(lines, _PART_LINES):
        yield item
        size += len(item.raw) if isinstance(item, Line) else 0
        if size >= _PART_BYTES:
            return


def _has_uuid(raw: bytes) -> bool:
    return identify(raw).uuid is not None


def _time_of(raw: bytes) -> datetime | None:
    try:
        at = _STAMPED.decode(raw).timestamp
    except (ValueError, RecursionError):
        return None
    return at if at is not None and at.tzinfo is not None else None
