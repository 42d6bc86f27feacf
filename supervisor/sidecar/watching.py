"""`Watching`: which transcript files of a folder may have grown.

File events say it at once, where the system has them for that folder. They are not relied
on: files that are made in a folder just made are easily missed, queues overflow, and changes
made on another host are not told. So the folder is surveyed besides: now and then, or every
second where there are no events.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from watchfiles import Change, awatch

__all__ = ["SUFFIX", "Stamp", "Survey", "Watch", "Watching", "survey"]

log = logging.getLogger(__name__)

Watch = Literal["auto", "poll"]

SUFFIX = ".jsonl"
POLL_SECONDS = 1.0
"""Between two surveys where they are all there is."""
SURVEY_SECONDS = 15.0
"""Between two surveys beside events: how late a change is seen that no event told."""
_GATHER_MS = 40
"""For how long events are gathered before they are told: an agent's steps take longer, and
of many agents, many are read together."""


class Stamp(NamedTuple):
    """A file as a survey finds it."""

    size: int
    modified_ns: int
    inode: int


class Survey(NamedTuple):
    """The transcript files below a folder."""

    files: dict[Path, Stamp]
    links: frozenset[Path]
    """Files and folders that stand elsewhere: they are not followed."""


def survey(root: Path) -> Survey:
    """Look through a folder. Blocks; what is gone meanwhile is left out."""
    links: set[Path] = set()
    files = {Path(entry.path): _stamp(entry) for entry in _transcripts(root, links)}
    return Survey({path: stamp for path, stamp in files.items() if stamp}, frozenset(links))


def _transcripts(folder: Path | str, links: set[Path]) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except OSError as error:
        log.warning("%s cannot be looked through: %s", folder, error.strerror)
        return
    for entry in entries:
        is_transcript = entry.name.endswith(SUFFIX)
        if entry.is_symlink():
            if is_transcript or entry.is_dir():
                links.add(Path(entry.path))
        elif entry.is_dir(follow_symlinks=False):
            yield from _transcripts(entry.path, links)
        elif is_transcript:
            yield entry


def _stamp(entry: os.DirEntry[str]) -> Stamp | None:
    try:
        found = entry.stat(follow_symlinks=False)
    except OSError:
        return None
    return Stamp(found.st_size, found.st_mtime_ns, found.st_ino)


class Watching:
    """Watches one folder, which is there, until it is gone."""

    def __init__(self, root: Path, watch: Watch = "auto") -> None:
        self._root = root
        self._polls = watch == "poll"
        self._files: dict[Path, Stamp] = {}
        self._links: frozenset[Path] = frozenset()
        self._changed: set[Path] = set()
        self._news = asyncio.Event()
        self._is_over = False

    async def changes(self) -> frozenset[Path] | None:
        """Wait until files may have changed; returns which, since the last call, and links
        that are new. Returns None where the folder is gone, or watched no more."""
        await self._news.wait()
        self._news.clear()
        changed, self._changed = frozenset(self._changed), set()
        return None if self._is_over else changed

    def suspect(self, *paths: Path) -> None:
        """Tell these files next time, whatever is known of them."""
        self._changed.update(paths)
        self._news.set()

    def stop(self) -> None:
        """Let `changes` return None from now on."""
        self._is_over = True
        self._news.set()

    async def first(self) -> dict[Path, Stamp]:
        """The files that are there to begin with; what comes after them is told."""
        found = await asyncio.to_thread(survey, self._root)
        self._files = found.files
        return found.files

    async def run(self) -> None:
        """Watch until the folder is gone, or cancelled. Call `first` before."""
        events = None if self._polls else asyncio.create_task(self._follow_events())
        try:
            await self._look_again_and_again()
        finally:
            self.stop()
            if events is not None:
                events.cancel()
                await asyncio.gather(events, return_exceptions=True)

    async def _look_again_and_again(self) -> None:
        identity = _identity(self._root)
        looked_at = -SURVEY_SECONDS
        while identity is not None and _identity(self._root) == identity:
            if self._polls or time.monotonic() - looked_at >= SURVEY_SECONDS:
                await self._look()
                looked_at = time.monotonic()
            await asyncio.sleep(POLL_SECONDS)

    async def _look(self) -> None:
        found = await asyncio.to_thread(survey, self._root)
        changed = [path for path, stamp in found.files.items() if self._files.get(path) != stamp]
        changed += found.links - self._links
        self._files, self._links = found
        if changed:
            self.suspect(*changed)

    async def _follow_events(self) -> None:
        try:
            async for changes in awatch(
                self._root,
                watch_filter=self._concerns,
                debounce=_GATHER_MS,
                step=_GATHER_MS // 2,
                ignore_permission_denied=True,
            ):
                await self._take(changes)
        except (OSError, RuntimeError) as error:
            # No inotify here, or no watch to spare.
            log.warning("%s: no file events (%s); it is surveyed every second", self._root, error)
        finally:
            self._polls = True

    def _concerns(self, change: Change, path: str) -> bool:
        if path.endswith(SUFFIX):
            return True
        if change is Change.deleted:
            return path == str(self._root)
        return change is Change.added and os.path.isdir(path)

    async def _take(self, changes: set[tuple[Change, str]]) -> None:
        if (Change.deleted, str(self._root)) in changes:
            self.stop()  # one of the same name is another folder, whatever it looks like
        files = [Path(path) for _, path in changes if path.endswith(SUFFIX)]
        if files:
            self.suspect(*files)
        if len(files) < len(changes):
            await self._look()  # a new folder may have got files before it was watched


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        found = root.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
