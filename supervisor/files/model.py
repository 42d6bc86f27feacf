"""What is known of a folder's checkpoints: values, as they are stored and told."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

__all__ = [
    "FileChanges",
    "FileSnapshot",
    "KeptFile",
    "KeptFiles",
    "Limits",
    "PathList",
    "Restored",
    "shown",
]

_LISTED = 50
_MEBIBYTE = 1024 * 1024


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a folder may hold to be checkpointed."""

    files: int
    bytes: int
    """In all, of the files that are not left out."""
    file_bytes: int = 50 * _MEBIBYTE
    """A larger file is left out: neither kept nor, on a restore, touched."""

    @classmethod
    def for_folder(cls) -> Limits:
        """For a folder without version control: a project of one's own, no data set."""
        return cls(files=20_000, bytes=200 * _MEBIBYTE)

    @classmethod
    def for_repository(cls) -> Limits:
        """For a git work tree, where what is bulky is ignored as a rule. At this limit the
        first checkpoint, which reads every file, took 25 s on two busy cores, and later
        ones 0.6 s."""
        return cls(files=50_000, bytes=512 * _MEBIBYTE)


class PathList(msgspec.Struct, frozen=True, kw_only=True):
    """Some paths of many, relative to the folder, sorted.

    They are the agent's and untrusted; bytes that are no UTF-8 are shown escaped.
    """

    count: int = 0
    first: tuple[str, ...] = ()
    """At most 50."""

    @classmethod
    def of(cls, paths: Iterable[bytes]) -> PathList:
        """All of `paths` counted, the first of them listed."""
        ordered = sorted(paths)
        return cls(count=len(ordered), first=tuple(map(shown, ordered[:_LISTED])))


class FileSnapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A folder's files at one moment."""

    id: str
    """A git tree's name. The same files with the same modes have the same id, anywhere."""
    cwd: str
    """The folder it was taken of."""
    files: int
    bytes: int
    left_out: PathList = PathList()
    """Files that are too large or could not be read. A restore does not touch them."""


class FileChanges(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between an earlier state of a folder and a later one."""

    added: PathList = PathList()
    modified: PathList = PathList()
    """Other content, another mode, or a link in place of a file."""
    deleted: PathList = PathList()

    def __bool__(self) -> bool:
        return bool(self.added.count or self.modified.count or self.deleted.count)


class KeptFile(msgspec.Struct, frozen=True, kw_only=True):
    """A file that a restore left as it was, though the snapshot has it otherwise."""

    path: str
    reason: str


class KeptFiles(msgspec.Struct, frozen=True, kw_only=True):
    """Some kept files of many, sorted."""

    count: int = 0
    first: tuple[KeptFile, ...] = ()
    """At most 50."""

    @classmethod
    def of(cls, reasons: dict[bytes, str]) -> KeptFiles:
        """All of them counted, the first of them listed."""
        first = sorted(reasons.items())[:_LISTED]
        files = tuple(KeptFile(path=shown(path), reason=reason) for path, reason in first)
        return cls(count=len(reasons), first=files)


class Restored(msgspec.Struct, frozen=True, kw_only=True):
    """What a restore did to the folder."""

    before: FileSnapshot
    """The folder as it was; restoring this one undoes the restore."""
    changes: FileChanges
    """From before to after: brought back is `added`, removed is `deleted`."""
    kept: KeptFiles = KeptFiles()


def shown(path: bytes) -> str:
    """A path as text.

    >>> shown(b"caf\\xc3\\xa9"), shown(b"caf\\xe9")
    ('café', 'caf\\\\xe9')
    """
    return path.decode("utf-8", "backslashreplace")
