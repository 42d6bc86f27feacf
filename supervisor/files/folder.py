"""`Folder`: changes to a working folder that cannot leave it.

Every path is walked from the folder's own descriptor, one name at a time and without
following links, so that no link, old or put there this moment, leads a write elsewhere.
A file is written beside its place and moved there: never half written, never through a
link, and never into a file that has another name outside.
"""

from __future__ import annotations

import os
import secrets
import stat
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from supervisor.files.look import Seen
from supervisor.files.tree import LINK, Entry

__all__ = ["Folder"]

_WALK = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class _Kept(Exception):
    """A file stays as it is; the message says why."""


class Folder:
    """One folder being restored.

    `seen` is what a snapshot holds of it as it is now: no other file is overwritten or
    removed, and none that has changed since it was seen. Methods return why a file was
    kept, or None where it is now as asked for.
    """

    def __init__(self, root: Path, seen: Mapping[bytes, Seen]) -> None:
        self._root = root
        self._seen = seen

    def remove(self, path: bytes) -> str | None:
        """Remove a file or link."""
        try:
            with self._parent(path, create=False) as (parent, name):
                self._check(parent, name, path)
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return None
        except (_Kept, OSError) as error:
            return _reason(error)
        return None

    def prune(self, paths: Collection[bytes], needed: Collection[bytes]) -> None:
        """Remove the folders that became empty when `paths` were removed, but none that
        `needed` paths lie in."""
        wanted = {folder for path in needed for folder in _folders(path)}
        emptied = {folder for path in paths for folder in _folders(path)} - wanted
        for folder in sorted(emptied, key=len, reverse=True):
            with suppress(_Kept, OSError), self._parent(folder, create=False) as (parent, name):
                os.rmdir(name, dir_fd=parent)

    def write(self, path: bytes, entry: Entry, content: bytes) -> str | None:
        """Put a file or link in its place, with the folders it lies in."""
        try:
            with self._parent(path, create=True) as (parent, name):
                self._clear(parent, name, path)
                _put(parent, name, entry, content)
        except (_Kept, OSError) as error:
            return _reason(error)
        return None

    def _clear(self, parent: int, name: bytes, path: bytes) -> None:
        """See that nothing but a file we know, or an empty folder, is in the place."""
        status = _status(parent, name)
        if status is None:
            return
        if not stat.S_ISDIR(status.st_mode):
            self._check(parent, name, path)
            return
        try:
            os.rmdir(name, dir_fd=parent)
        except OSError:
            raise _Kept("a folder with ignored files is in its place") from None

    def _check(self, parent: int, name: bytes, path: bytes) -> None:
        status = os.stat(name, dir_fd=parent, follow_symlinks=False)
        seen = self._seen.get(path)
        if seen is None:
            raise _Kept("something that could not be kept a copy of is in its place")
        if Seen.of(status) != seen:
            raise _Kept("it changed while the folder was being restored")

    @contextmanager
    def _parent(self, path: bytes, *, create: bool) -> Iterator[tuple[int, bytes]]:
        *folders, name = path.split(b"/")
        with ExitStack() as opened:
            parent = os.open(self._root, _WALK)
            opened.callback(os.close, parent)
            for folder in folders:
                if create:
                    _make_folder(parent, folder)
                parent = os.open(folder, _WALK, dir_fd=parent)
                opened.callback(os.close, parent)
                if _status(parent, b".git") is not None:
                    raise _Kept("it lies in a git repository of its own")
            yield parent, name


def _put(parent: int, name: bytes, entry: Entry, content: bytes) -> None:
    beside = b".lucid-" + secrets.token_hex(8).encode()
    try:
        if entry.kind == LINK and b"\0" in content:
            raise _Kept("what it should link to is no path")
        if entry.kind == LINK:
            os.symlink(content, beside, dir_fd=parent)
        else:
            _write(parent, beside, entry.permissions, content)
        _give(parent, beside, _status(parent, name))
        os.rename(beside, name, src_dir_fd=parent, dst_dir_fd=parent)
    except BaseException:
        with suppress(OSError):
            os.unlink(beside, dir_fd=parent)
        raise


def _write(parent: int, name: bytes, permissions: int, content: bytes) -> None:
    with os.fdopen(os.open(name, _CREATE, 0o600, dir_fd=parent), "wb") as file:
        file.write(content)
        os.fchmod(file.fileno(), permissions)


def _make_folder(parent: int, name: bytes) -> None:
    try:
        os.mkdir(name, dir_fd=parent)
    except FileExistsError:
        return
    _give(parent, name, None)


def _give(parent: int, name: bytes, former: os.stat_result | None) -> None:
    """To whom the replaced file, or else the folder, belongs: a supervisor that runs as
    root would otherwise take files away from an agent that does not."""
    if os.geteuid() != 0:
        return
    owner = former or os.fstat(parent)
    if owner.st_uid or owner.st_gid:
        os.chown(name, owner.st_uid, owner.st_gid, dir_fd=parent, follow_symlinks=False)


def _status(parent: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=parent, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _folders(path: bytes) -> Iterator[bytes]:
    while path := path.rpartition(b"/")[0]:
        yield path


def _reason(error: Exception) -> str:
    if isinstance(error, NotADirectoryError):
        return "a file or link is in place of its folder"
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
