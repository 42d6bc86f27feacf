"""`Look`: what is on disk of the paths that a checkpoint may hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from supervisor.errors import FilesError
from supervisor.files.model import Limits, shown

__all__ = ["Look", "Seen", "is_safe", "unreadable"]

_MEBIBYTE = 1024 * 1024


class Seen(NamedTuple):
    """A file as it was when it was looked at; another value means that it changed."""

    mode: int
    size: int
    inode: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, status: os.stat_result) -> Seen:
        """From the status of the file itself, not of what it links to."""
        return cls(
            status.st_mode,
            status.st_size,
            status.st_ino,
            status.st_mtime_ns,
            status.st_ctime_ns,
        )


class Look:
    """The files and links among some paths of a folder.

    Paths that are gone, lead through a link, or lie in a repository of their own are
    passed over. Raises `FilesError` as soon as a limit is passed.
    """

    def __init__(
        self, root: Path, paths: Iterable[bytes], limits: Limits, suspects: Collection[bytes] = ()
    ) -> None:
        """`suspects` are files that could not be read before."""
        self.found: dict[bytes, Seen] = {}
        self.left_out: set[bytes] = set()
        self.bytes = 0
        self._root = os.fsencode(root)
        self._limits = limits
        self._folders: dict[bytes, bool] = {b"": True}
        for path in paths:
            self._see(path, suspects)

    def _see(self, path: bytes, suspects: Collection[bytes]) -> None:
        if path in self.found or not is_safe(path) or not self._is_ours(path.rpartition(b"/")[0]):
            return
        try:
            seen = Seen.of(os.lstat(self._full(path)))
        except OSError:
            return
        if stat.S_ISLNK(seen.mode):
            self._keep(path, seen)
        elif stat.S_ISREG(seen.mode):
            if seen.size > self._limits.file_bytes or (path in suspects and self._shut(path)):
                self.left_out.add(path)
            else:
                self._keep(path, seen)

    def _keep(self, path: bytes, seen: Seen) -> None:
        self.found[path] = seen
        self.bytes += seen.size
        if len(self.found) > self._limits.files:
            raise FilesError(
                f"more than {self._limits.files:,} files that are not ignored: "
                "name what is not worth a checkpoint in a .gitignore"
            )
        if self.bytes > self._limits.bytes:
            raise FilesError(self._too_large())

    def _too_large(self) -> str:
        largest = max(self.found, key=lambda path: self.found[path].size)
        return (
            f"more than {self._limits.bytes // _MEBIBYTE:,} MB in files that are not ignored, "
            f"{shown(largest)!r} with {self.found[largest].size // _MEBIBYTE:,} MB among them: "
            "name what is not worth a checkpoint in a .gitignore"
        )

    def _is_ours(self, folder: bytes) -> bool:
        """Whether it is a real folder below the root, and in no nested repository."""
        known = self._folders.get(folder)
        if known is None:
            parent = folder.rpartition(b"/")[0]
            known = self._folders[folder] = self._is_ours(parent) and self._is_plain(folder)
        return known

    def _is_plain(self, folder: bytes) -> bool:
        path = self._full(folder)
        try:
            is_folder = stat.S_ISDIR(os.lstat(path).st_mode)
        except OSError:
            return False
        return is_folder and not os.path.lexists(path + b"/.git")

    def _shut(self, path: bytes) -> bool:
        return not _opens(self._full(path))

    def _full(self, path: bytes) -> bytes:
        return self._root + b"/" + path


def is_safe(path: bytes) -> bool:
    """Whether a path names something strictly below its root, and no `.git`.

    >>> is_safe(b"src/a.py"), is_safe(b"../a"), is_safe(b"/etc/x"), is_safe(b"a/.GIT/hooks")
    (True, False, False, False)
    """
    parts = path.split(b"/")
    return b"\0" not in path and not any(
        part in (b"", b".", b"..") or part.lower() == b".git" for part in parts
    )


def unreadable(root: Path, paths: Iterable[bytes]) -> set[bytes]:
    """Those of some paths that cannot be opened for reading."""
    base = os.fsencode(root) + b"/"
    return {path for path in paths if not _opens(base + path)}


def _opens(path: bytes) -> bool:
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK))
    except OSError as error:
        # A link is read without being opened; what is gone is no obstacle.
        return isinstance(error, FileNotFoundError) or os.path.islink(path)
    return True
