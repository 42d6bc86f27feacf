"""`Contents`: what a snapshot holds, and what differs between two.

A snapshot is a git tree with two entries: `files`, the files themselves, and `extras`,
what git's trees cannot say: modes other than 0644 and 0755, and the paths left out.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from supervisor.errors import FilesError
from supervisor.files.look import Look, is_safe
from supervisor.files.model import FileChanges, PathList

__all__ = [
    "LINK",
    "Contents",
    "Entry",
    "changes_between",
    "extras_of",
    "permissions_held",
    "permissions_seen",
    "read_contents",
]

LINK = b"120000"
_DEFAULT_MODES = {b"100644": 0o644, b"100755": 0o755, LINK: 0o777}
_LINE = re.compile(rb"(\d{6}) blob ([0-9a-f]{40,64})\t(.+)", re.DOTALL)


class Entry(NamedTuple):
    """One file or link of a snapshot."""

    kind: bytes
    """Git's mode: a file, an executable one or a link."""
    blob: str
    permissions: int


class Contents(NamedTuple):
    """All of a snapshot's paths."""

    files: dict[bytes, Entry]
    left_out: frozenset[bytes]


def extras_of(permissions: Mapping[bytes, int], left_out: Iterable[bytes]) -> bytes:
    """The `extras` of some files, as records `MODE PATH` and `- PATH`, sorted."""
    records = [b"- " + path for path in left_out]
    for path, mode in permissions.items():
        if mode != (0o755 if mode & 0o100 else 0o644):
            records.append(b"%03o %s" % (mode, path))
    return b"".join(record + b"\0" for record in sorted(records))


def permissions_seen(look: Look) -> dict[bytes, int]:
    """Of the files found, without the bits that lend another's rights."""
    return {
        path: stat.S_IMODE(seen.mode) & 0o777
        for path, seen in look.found.items()
        if stat.S_ISREG(seen.mode)
    }


def permissions_held(files: Mapping[bytes, Entry]) -> dict[bytes, int]:
    """Of a snapshot's files."""
    return {path: entry.permissions for path, entry in files.items() if entry.kind != LINK}


def read_contents(listing: bytes, extras: bytes) -> Contents:
    """From `git ls-tree -r -z` and the `extras`. Raises `FilesError` where they hold what
    no checkpoint of ours can, such as a path that leaves its folder."""
    modes, left_out = _read_extras(extras)
    files: dict[bytes, Entry] = {}
    for line in listing.split(b"\0")[:-1]:
        found = _LINE.fullmatch(line)
        if found is None or found[1] not in _DEFAULT_MODES or not is_safe(found[3]):
            raise FilesError(f"not a checkpoint of files: it holds {line[:200]!r}")
        kind, blob, path = found[1], found[2].decode(), found[3]
        files[path] = Entry(kind, blob, modes.get(path, _DEFAULT_MODES[kind]))
    return Contents(files, left_out)


def _read_extras(extras: bytes) -> tuple[dict[bytes, int], frozenset[bytes]]:
    modes: dict[bytes, int] = {}
    left_out: set[bytes] = set()
    for record in extras.split(b"\0")[:-1]:
        mark, _, path = record.partition(b" ")
        if mark == b"-":
            left_out.add(path)
        elif re.fullmatch(rb"[0-7]{3}", mark):
            modes[path] = int(mark, 8)
        else:
            raise FilesError(f"not a checkpoint of files: its extras hold {record[:200]!r}")
    return modes, frozenset(left_out)


def changes_between(
    old: Mapping[bytes, Entry], new: Mapping[bytes, Entry], without: frozenset[bytes] = frozenset()
) -> FileChanges:
    """What differs, leaving out paths of which one side cannot tell."""
    return FileChanges(
        added=PathList.of(new.keys() - old.keys() - without),
        modified=PathList.of(
            path for path in new.keys() & old.keys() - without if new[path] != old[path]
        ),
        deleted=PathList.of(old.keys() - new.keys() - without),
    )
