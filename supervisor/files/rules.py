"""`Rules`: what is ignored, beside what the folder's own `.gitignore` files say."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from supervisor.files.git import Call, Git
from supervisor.files.names import LEFT_OUT
from supervisor.files.repository import Repository, read_small

__all__ = ["Ignored", "Rules"]


class Rules:
    """The user's and the clone's own ignore rules, copied to where our git reads them."""

    def __init__(self, git: Git, store: Path) -> None:
        """`store` is the bare repository of Lucid's own."""
        self._git = git
        self._file = store / "info" / "exclude"
        self.left_out = store / "info" / "left-out"
        """The names that are left out everywhere, as a file of patterns."""
        self._users: str | None = None

    async def learn(self, repository: Repository | None) -> None:
        """Take over the rules as they are now."""
        if self._users is None:
            self._users = read_small(await self._users_file())
            self.left_out.write_text("\n".join(LEFT_OUT) + "\n")
        clones = read_small(repository.exclude) if repository is not None else ""
        self._file.write_bytes(f"{self._users}\n{clones}\n".encode("utf-8", "surrogateescape"))

    async def _users_file(self) -> Path:
        code, named, _ = await self._git.tried(
            "config", "--global", "--includes", "--type=path", "--get", "core.excludesFile",
            call=Call(as_user=True),
        )  # fmt: skip
        if code == 0:
            return Path(os.fsdecode(named.rstrip(b"\n")))
        return _usual_users_file()


class Ignored:
    """What was there and ignored when a snapshot was taken: files that a restore must not
    take for created since, even where the rule that ignored them is gone.

    Known on this host alone; another has other files.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def note(self, snapshot: str, names: Iterable[bytes]) -> None:
        """Names of files, and of folders with a slash behind them, are ignored."""
        known = self._read(snapshot)
        if not known.issuperset(names):
            self._folder.mkdir(exist_ok=True)
            packed = zlib.compress(b"\0".join(sorted(known.union(names))))
            (self._folder / snapshot).write_bytes(packed)

    def among(self, snapshot: str, paths: Iterable[bytes]) -> set[bytes]:
        """Those of some paths that are known to have been ignored, or to lie in a folder
        that was."""
        known = self._read(snapshot)
        return {path for path in paths if not known.isdisjoint(_path_and_folders(path))}

    def _read(self, snapshot: str) -> frozenset[bytes]:
        with suppress(FileNotFoundError, zlib.error):
            names = zlib.decompress((self._folder / snapshot).read_bytes())
            return frozenset(filter(None, names.split(b"\0")))
        return frozenset()


def _path_and_folders(path: bytes) -> list[bytes]:
    """
    >>> _path_and_folders(b"a/b/c")
    [b'a/b/c', b'a/', b'a/b/']
    """
    parts = path.split(b"/")
    return [path, *(b"/".join(parts[:end]) + b"/" for end in range(1, len(parts)))]


def _usual_users_file() -> Path:
    configuration = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return Path(configuration) / "git" / "ignore"
