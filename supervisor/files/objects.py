"""`Objects`: snapshots as git objects in a bare repository of Lucid's own."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

from supervisor.errors import FilesError
from supervisor.files.git import Call, Git
from supervisor.files.model import FileSnapshot, PathList, shown
from supervisor.files.rules import Ignored
from supervisor.files.stage import Staged
from supervisor.files.tree import Contents, Entry, extras_of, permissions_seen, read_contents

__all__ = ["Objects"]

_NAME = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_BATCH_BYTES = 16 * 1024 * 1024
_ATTRIBUTES = "* -text -ident !eol !filter !working-tree-encoding -diff -merge\n"
"""Overrules every `.gitattributes`: files are stored as they are on disk."""


class Objects:
    """What snapshots are made of. Raises `FilesError` where git fails."""

    def __init__(self, git: Git, repository: Path) -> None:
        self._git = git
        self._repository = repository
        self.ignored = Ignored(repository / "ignored")
        self._wrapped: tuple[str, bytes, str] | None = None

    async def prepare(self) -> None:
        """Make the repository, unless it is there."""
        if not (self._repository / "HEAD").is_file():
            self._repository.mkdir(parents=True, exist_ok=True)
            await self._git.run("init", "--quiet", "--bare", "--template=")
        information = self._repository / "info"
        information.mkdir(exist_ok=True)
        (information / "attributes").write_text(_ATTRIBUTES)

    async def snapshot(self, staged: Staged, root: Path) -> FileSnapshot:
        """The snapshot of what was just stored."""
        look = staged.look
        name = await self.wrap(staged.tree, extras_of(permissions_seen(look), look.left_out))
        self.ignored.note(name, staged.ignored)
        return FileSnapshot(
            id=name,
            cwd=shown(os.fsencode(root)),
            files=len(look.found),
            bytes=look.bytes,
            left_out=PathList.of(look.left_out),
        )

    async def wrap(self, tree: str, extras: bytes) -> str:
        """The id of the snapshot that holds a tree of files and their extras."""
        if self._wrapped is None or self._wrapped[:2] != (tree, extras):
            self._wrapped = (tree, extras, await self._wrap(tree, extras))
        return self._wrapped[2]

    async def _wrap(self, tree: str, extras: bytes) -> str:
        blob = await self._git.run("hash-object", "-w", "--stdin", given=extras)
        entries = f"100644 blob {blob.decode().strip()}\textras\n040000 tree {tree}\tfiles\n"
        return (await self._git.run("mktree", given=entries.encode())).decode().strip()

    async def record(self, files: Mapping[bytes, Entry]) -> str:
        """The tree of these files, whose contents are here already."""
        index = self._repository / "record-index"
        index.unlink(missing_ok=True)
        call = Call(index=index)
        lines = b"".join(
            b"%s %s\t%s\0" % (entry.kind, entry.blob.encode(), path)
            for path, entry in files.items()
        )
        await self._git.run("update-index", "-z", "--index-info", call=call, given=lines)
        tree = await self._git.run("write-tree", call=call)
        return tree.decode().strip()

    async def contents(self, snapshot: str) -> Contents:
        """What a snapshot holds."""
        await self.require(snapshot)
        listing = await self._git.run("ls-tree", "-r", "-z", f"{snapshot}:files")
        extras = await self._git.run("cat-file", "blob", f"{snapshot}:extras")
        return read_contents(listing, extras)

    async def require(self, snapshot: str) -> None:
        """Raises `FilesError` where the snapshot is not here."""
        if _NAME.fullmatch(snapshot):
            code, kind, _ = await self._git.tried("cat-file", "-t", snapshot)
            if code == 0 and kind == b"tree\n":
                return
        raise FilesError(
            f"no checkpoint of files {snapshot[:64]!r} in {self._repository}: "
            "import it first, or take one here"
        )

    async def batches(self, blobs: Iterable[str]) -> list[list[str]]:
        """The blobs in batches of some megabytes. Raises where one is missing, so that
        nothing is begun that cannot be ended."""
        names = sorted(set(blobs))
        if not names:
            return []
        answer = await self._git.run("cat-file", "--batch-check", given=_lines(names))
        batches: list[list[str]] = [[]]
        size = 0
        for name, line in zip(names, answer.decode().splitlines(), strict=True):
            size += _size(name, line)
            if size > _BATCH_BYTES and batches[-1]:
                batches.append([])
                size = _size(name, line)
            batches[-1].append(name)
        return batches

    async def read(self, blobs: list[str]) -> dict[str, bytes]:
        """The contents of a batch."""
        answer = await self._git.run("cat-file", "--batch", given=_lines(blobs))
        return dict(_contents(answer))

    async def pack(self, snapshot: str, since: str | None, into: IO[bytes]) -> None:
        """Write a pack of what `snapshot` holds, less what `since` does."""
        wanted = [snapshot] if since is None else [snapshot, f"^{since}"]
        await self._git.run(
            "pack-objects", "--revs", "--thin", "--delta-base-offset", "--quiet", "--stdout",
            given=_lines(wanted), into=into,
        )  # fmt: skip

    async def unpack(self, pack: IO[bytes]) -> None:
        """Take over a pack."""
        await self._git.run("index-pack", "--stdin", "--fix-thin", given=pack)

    async def holds(self, snapshot: str) -> bool:
        """Whether all that the snapshot holds is here."""
        if not _NAME.fullmatch(snapshot):
            return False
        code, _, _ = await self._git.tried("rev-list", "--objects", "--quiet", snapshot)
        return code == 0

    async def check(self, snapshot: str) -> None:
        """Raises `FilesError` unless all that the snapshot holds is here."""
        await self.require(snapshot)
        await self._git.run("rev-list", "--objects", "--quiet", snapshot)


def _lines(names: list[str]) -> bytes:
    return "".join(name + "\n" for name in names).encode()


def _size(name: str, line: str) -> int:
    found = re.fullmatch(rf"{name} blob (\d+)", line)
    if found is None:
        raise FilesError(f"the checkpoint is incomplete: {line}")
    return int(found[1])


def _contents(answer: bytes) -> Iterator[tuple[str, bytes]]:
    at = 0
    while at < len(answer):
        header_end = answer.index(b"\n", at)
        name, _, size = answer[at:header_end].split(b" ")
        begin = header_end + 1
        end = begin + int(size)
        yield name.decode(), answer[begin:end]
        at = end + 1
