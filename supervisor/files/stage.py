"""`Stage`: the way of a working folder's files into the object store."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import NamedTuple

from supervisor.errors import FilesError
from supervisor.files.git import Call, Git
from supervisor.files.look import Look, unreadable
from supervisor.files.model import Limits
from supervisor.files.names import LEFT_OUT, RULES_FILE, rules_file_beside
from supervisor.files.repository import Repository, find_repository
from supervisor.files.rules import Rules

__all__ = ["Stage", "Staged"]

_ATTEMPTS = 4
"""Of which one may find unreadable files, one a broken index, and the rest a folder that
changes under our eyes."""

_PACK_FROM = 64
"""So many new files go into one pack instead of a file each, which is four times as fast."""

_MOST_NAMES = 128 * 1024 * 1024
"""Bytes of names. Git tracks millions of files, of which a sparse work tree has few."""


class Staged(NamedTuple):
    """A folder's files as they were stored."""

    tree: str
    look: Look
    listed: frozenset[bytes]
    """What the rules in force let through, whether or not it could be stored."""
    ignored: list[bytes]
    """What they keep out: files, and folders (with a slash behind them)."""


class Stage:
    """One folder and the private index of what is stored of it.

    The index remembers each file's status, so that only changed files are read again.
    It is derived: if it is lost or broken, it is made anew.
    """

    def __init__(self, git: Git, root: Path, index: Path, rules: Rules, limits: Limits | None):
        self._git = git
        self._root = root
        self._index = index
        self._rules = rules
        self._limits = limits
        self._indexed: set[bytes] | None = None
        self._suspects: set[bytes] = set()

    async def store(self, also: Collection[bytes] = ()) -> Staged:
        """Store the files that are not ignored, and `also` these. Raises `FilesError`."""
        repository = await self._repository()
        limits = self._limits or _usual_limits(repository)
        # Left by a command that was killed; whoever calls holds the store's lock.
        self._index.with_suffix(".lock").unlink(missing_ok=True)
        for attempt in range(_ATTEMPTS):
            listed, ignored = await asyncio.gather(
                self._list(repository), self._list_ignored(repository)
            )
            # A rules file is kept even where it hides itself, as `*` does: it decides
            # what a restore finds.
            rules = {rules_file_beside(path) for path in (*listed, *also, RULES_FILE)}
            paths = [*listed, *also, *sorted(rules)]
            look = await asyncio.to_thread(Look, self._root, paths, limits, self._suspects)
            trouble = await self._update(look)
            if trouble is None:
                code, tree, trouble = await self._git.tried("write-tree", call=self._call())
                if code == 0:
                    return Staged(tree.decode().strip(), look, frozenset(listed), ignored)
            await self._recover(look, attempt)
        raise FilesError(f"the folder could not be read in {_ATTEMPTS} attempts: {trouble}")

    async def _repository(self) -> Repository | None:
        """The repository whose rules hold here."""
        repository = find_repository(self._root)
        await self._rules.learn(repository)
        self._refuse_what_is_no_project(repository)
        if repository is None or repository.top == self._root:
            return repository
        # A scratch folder that its repository ignores is a folder of its own.
        code, _, said = await self._git.tried(
            "check-ignore", "--no-index", "--quiet", "--",
            f"./{self._root.relative_to(repository.top)}",
            call=Call(
                cwd=repository.top,
                work_tree=repository.top,
                settings={"core.excludesFile": str(self._rules.left_out)},
            ),
        )  # fmt: skip
        if code > 1:
            raise FilesError(f"the rules of {repository.top} cannot be read: {said}")
        return None if code == 0 else repository

    def _refuse_what_is_no_project(self, repository: Repository | None) -> None:
        if not self._root.is_dir():
            raise FilesError(f"there is no folder {self._root}")
        if ".git" in self._root.parts:
            raise FilesError(f"{self._root} is a part of git's own")
        if repository is None and self._root in {_home(), Path(tempfile.gettempdir()).resolve()}:
            raise FilesError(f"{self._root} is shared by too much to be rolled back")

    async def _list(self, repository: Repository | None) -> list[bytes]:
        """What the user's index tracks, and all that is not ignored."""
        names = None
        if repository is not None and repository.index is not None:
            names = await self._names(repository, repository.index)
        if names is None:
            names = await self._names(repository, None)
        if names is None:
            raise FilesError(f"the files in {self._root} could not be listed")
        return names

    async def _names(
        self, repository: Repository | None, tracked: Path | None
    ) -> list[bytes] | None:
        code, output, _ = await self._git.tried(
            "ls-files", "-z", "--cached", "--others", "--exclude-standard",
            # These overrule a .gitignore, which is the agent's to write.
            *(f"--exclude={name}" for name in LEFT_OUT),
            call=self._listing(repository, tracked),
        )  # fmt: skip
        return None if code else [name for name in output.split(b"\0") if name]

    async def _list_ignored(self, repository: Repository | None) -> list[bytes]:
        output = await self._git.run(
            "status", "-z", "--porcelain", "--no-renames", "--ignore-submodules=all",
            "--untracked-files=all", "--ignored=matching", "--", ".",
            call=self._listing(repository, None),
        )  # fmt: skip
        above = b""
        if repository is not None and repository.top != self._root:
            above = os.fsencode(self._root.relative_to(repository.top)) + b"/"
        mark = b"!! " + above
        return [line.removeprefix(mark) for line in output.split(b"\0") if line.startswith(mark)]

    def _listing(self, repository: Repository | None, tracked: Path | None) -> Call:
        return Call(
            cwd=self._root,
            work_tree=repository.top if repository else self._root,
            index=tracked or self._index.with_name("no-index"),
            settings={"core.excludesFile": str(self._rules.left_out)},
            most_output=_MOST_NAMES,
        )

    async def _update(self, look: Look) -> str | None:
        """Bring the private index up to date; returns what went wrong."""
        if self._indexed is None:
            self._indexed = await self._read_index()
        gone = self._indexed - look.found.keys()
        new = look.found.keys() - self._indexed
        self._indexed = None
        trouble = await self._update_index("--force-remove", paths=gone) or (
            await self._update_index(
                "--add", "--replace", "--remove", paths=look.found, packed=len(new) > _PACK_FROM
            )
        )
        if trouble is None:
            self._indexed = set(look.found)
        return trouble

    async def _update_index(
        self, *options: str, paths: Iterable[bytes], packed: bool = False
    ) -> str | None:
        given = b"".join(path + b"\0" for path in paths)
        if not given:
            return None
        code, _, said = await self._git.tried(
            "update-index", "-z", *options, "--stdin",
            call=self._call({"core.bigFileThreshold": "1"} if packed else {}),
            given=given,
        )  # fmt: skip
        return said if code else None

    async def _read_index(self) -> set[bytes]:
        code, output, _ = await self._git.tried("ls-files", "-z", "--cached", call=self._call())
        if code:
            self._forget()
            return set()
        return set(filter(None, output.split(b"\0")))

    def _forget(self) -> None:
        self._index.unlink(missing_ok=True)
        self._indexed = None

    async def _recover(self, look: Look, attempt: int) -> None:
        shut = await asyncio.to_thread(unreadable, self._root, look.found)
        self._suspects |= shut
        if attempt > 0 and not shut:
            self._forget()

    def _call(self, settings: dict[str, str] | None = None) -> Call:
        return Call(
            cwd=self._root, work_tree=self._root, index=self._index, settings=settings or {}
        )


def _usual_limits(repository: Repository | None) -> Limits:
    return Limits.for_folder() if repository is None else Limits.for_repository()


def _home() -> Path | None:
    try:
        return Path.home().resolve()
    except RuntimeError:  # nobody's account
        return None
