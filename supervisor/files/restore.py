"""`Restore`: bringing a folder to a snapshot, so that it can be undone.

What a restore removes or overwrites is in a snapshot of its own first, and nothing else
is removed or overwritten. A file that this one cannot hold is kept, with the reason.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from pathlib import Path

import msgspec

from supervisor.errors import FilesError
from supervisor.files.folder import Folder
from supervisor.files.model import FileChanges, FileSnapshot, KeptFiles, PathList, Restored
from supervisor.files.names import RULES_FILE, rules_file_beside
from supervisor.files.objects import Objects
from supervisor.files.stage import Stage, Staged
from supervisor.files.tree import Contents, Entry, extras_of, permissions_held

__all__ = ["Restore"]

log = logging.getLogger(__name__)


class Restore:
    """One restore of one folder. Raises `FilesError` before anything is changed, or where
    git fails in the middle; running it again then goes on."""

    def __init__(
        self,
        root: Path,
        objects: Objects,
        stage: Stage,
        snapshot: str,
        ours: Collection[str] | None = None,
    ) -> None:
        """`ours` are snapshots: a file that none of them has as it is now is kept."""
        self._root = root
        self._objects = objects
        self._stage = stage
        self._snapshot = snapshot
        self._ours = ours
        self._known: set[tuple[bytes, str]] = set()
        self._wanted = Contents({}, frozenset())
        self._present: dict[bytes, Entry] = {}
        self._kept: dict[bytes, str] = {}
        self._removed: set[bytes] = set()
        self._written: set[bytes] = set()

    async def run(self) -> Restored:
        """Do it."""
        self._wanted = await self._objects.contents(self._snapshot)
        await self._objects.batches(entry.blob for entry in self._wanted.files.values())
        for snapshot in self._ours or ():
            known = await self._objects.contents(snapshot)
            self._known |= {(path, entry.blob) for path, entry in known.files.items()}
        staged, before = await self._keep_a_copy()
        log.info("restoring %s; as it was: %s", self._root, before.id)
        staged, before = await self._settle_rules(staged, before)
        await self._remove(self._created(staged) - self._removed, staged)
        await self._write(self._differing() - self._written, staged)
        return Restored(before=before, changes=self._changes(), kept=KeptFiles.of(self._kept))

    async def _keep_a_copy(self) -> tuple[Staged, FileSnapshot]:
        try:
            staged = await self._stage.store(also=self._wanted.files)
        except FilesError as error:
            raise FilesError(f"nothing was restored, for want of a copy first: {error}") from error
        before = await self._objects.snapshot(staged, self._root)
        self._present = (await self._objects.contents(before.id)).files
        return staged, before

    async def _settle_rules(
        self, staged: Staged, before: FileSnapshot
    ) -> tuple[Staged, FileSnapshot]:
        """Bring the rules back first, the outermost before those that they may ignore."""
        ignored, settled = staged.ignored, set[bytes]()
        while rules := self._outermost(self._changed_rules(staged) - settled):
            settled |= rules
            await self._remove(rules, staged)
            await self._write(rules, staged)
            staged, before = await self._keep_a_copy_of_the_unhidden(settled)
            self._objects.ignored.note(before.id, ignored)
        return staged, before

    async def _keep_a_copy_of_the_unhidden(self, rules: set[bytes]) -> tuple[Staged, FileSnapshot]:
        """With the rules of the snapshot in force again, files show that were hidden by
        later ones: they join the copy, in which the later rules stay as they were."""
        staged = await self._stage.store(also={*self._wanted.files, *self._present})
        now = await self._objects.snapshot(staged, self._root)
        shown = await self._objects.contents(now.id)
        former = {path: self._present[path] for path in rules & self._present.keys()}
        others = {path: entry for path, entry in shown.files.items() if path not in rules}
        self._present = {**others, **former}
        extras = extras_of(permissions_held(self._present), shown.left_out)
        copy = await self._objects.wrap(await self._objects.record(self._present), extras)
        return staged, msgspec.structs.replace(now, id=copy, files=len(self._present))

    def _changed_rules(self, staged: Staged) -> set[bytes]:
        """Rules files to bring back, and those to remove: a file that hides itself counts
        as created where the snapshot would have known it."""
        wanted = self._wanted.files
        known = {rules_file_beside(path) for path in wanted} | {RULES_FILE}
        created = self._present.keys() & (staged.listed | known) - wanted.keys()
        created -= self._objects.ignored.among(self._snapshot, created)
        return {
            path
            for path in wanted.keys() | created
            if path == rules_file_beside(path) and self._present.get(path) != wanted.get(path)
        }

    def _outermost(self, rules: set[bytes]) -> set[bytes]:
        """Those that no other's folder can be ignored by: inner ones are judged under
        the outer ones of the snapshot, which may ignore them altogether."""
        depth = min((path.count(b"/") for path in rules), default=0)
        return {path for path in rules if path.count(b"/") == depth}

    def _created(self, staged: Staged) -> set[bytes]:
        """Files to remove: not in the snapshot, nor ignored by its rules or known to have
        been ignored by others."""
        created = (self._present.keys() - self._wanted.files.keys()) & staged.listed
        created -= self._objects.ignored.among(self._snapshot, created)
        unknown = created & self._wanted.left_out
        self._kept.update(dict.fromkeys(unknown, "the snapshot had left it out"))
        return created - unknown

    def _differing(self) -> set[bytes]:
        wanted = self._wanted.files
        return {path for path, entry in wanted.items() if self._present.get(path) != entry}

    def _ours_of(self, paths: Set[bytes]) -> set[bytes]:
        """Those that may be overwritten or removed, or are not there."""
        if self._ours is None:
            return set(paths)
        foreign = {
            path
            for path in paths & self._present.keys()
            if (path, self._present[path].blob) not in self._known
        }
        self._kept.update(dict.fromkeys(foreign, "it is not as this session ever left it"))
        return set(paths) - foreign

    async def _remove(self, paths: Iterable[bytes], staged: Staged) -> None:
        leaving = self._ours_of(set(paths) - self._wanted.files.keys())
        folder = Folder(self._root, staged.look.found)
        kept = await asyncio.to_thread(self._remove_all, leaving, folder)
        self._settle(leaving, kept)
        self._removed |= leaving - kept.keys()

    def _remove_all(self, paths: set[bytes], folder: Folder) -> dict[bytes, str]:
        kept = _attempt(paths, folder.remove)
        folder.prune(paths - kept.keys(), self._wanted.files)
        return kept

    async def _write(self, paths: Set[bytes], staged: Staged) -> None:
        folder = Folder(self._root, staged.look.found)
        wanted = self._wanted.files
        entries = {path: wanted[path] for path in self._ours_of(wanted.keys() & paths)}
        for batch in await self._objects.batches(entry.blob for entry in entries.values()):
            blobs = await self._objects.read(batch)
            due = {path: entry for path, entry in entries.items() if entry.blob in blobs}
            kept = await asyncio.to_thread(_write_all, folder, due, blobs)
            self._settle(due, kept)
            self._written |= due.keys() - kept.keys()

    def _settle(self, paths: Iterable[bytes], kept: Mapping[bytes, str]) -> None:
        for path in paths:
            self._kept.pop(path, None)
        self._kept.update(kept)

    def _changes(self) -> FileChanges:
        there = self._present.keys()
        return FileChanges(
            added=PathList.of(self._written - there),
            modified=PathList.of(self._written & there),
            deleted=PathList.of(self._removed),
        )


def _attempt(paths: Iterable[bytes], change: Callable[[bytes], str | None]) -> dict[bytes, str]:
    """Make a change for each path; returns the reasons of those that were kept."""
    reasons = {path: change(path) for path in sorted(paths)}
    return {path: reason for path, reason in reasons.items() if reason is not None}


def _write_all(
    folder: Folder, entries: Mapping[bytes, Entry], blobs: Mapping[str, bytes]
) -> dict[bytes, str]:
    return _attempt(
        entries, lambda path: folder.write(path, entries[path], blobs[entries[path].blob])
    )
