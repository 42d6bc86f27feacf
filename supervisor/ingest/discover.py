"""`find_transcripts`: the transcripts in a file or folder, and which belong together."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from supervisor.errors import TranscriptError
from supervisor.ingest import wire
from supervisor.ingest.lines import Line, LineFile

__all__ = ["Source", "find_transcripts", "source_of"]

_SUFFIX = ".jsonl"
_SUBAGENTS = "subagents"
_AGENT_FILE = re.compile(r"agent-(?P<id>.+)")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_PEEKED_LINES = 64
"""Lines looked at to tell whose a file is; the first ones may be records without a
session id, such as summaries."""


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """One transcript file and what it is a transcript of."""

    path: Path
    session_id: str
    """The SDK session id; a subagent's is its parent's."""
    project_key: str | None = None
    """The folder under `projects/`, for a file in Claude Code's own layout."""
    agent_id: str | None = None
    subpath: str = ""
    """Where the transcript stands under its session, as the SDK's session stores name it;
    empty for the main one."""


class _Head(msgspec.Struct, rename="camel"):
    type: str | None = None
    session_id: str | None = None
    session: str | None = msgspec.field(name="session_id", default=None)
    agent_id: str | None = None
    is_sidechain: bool | None = None


def find_transcripts(path: Path) -> list[Source]:
    """The transcripts at `path`, sorted, each main one before its subagents'.

    A folder is searched through and through; symbolic links in it are not followed. A
    file is given with its subagents. Raises `TranscriptError` where nothing is there.
    """
    root = path.expanduser().absolute()
    if root.is_dir():
        found = [source for file in _files(root) if (source := source_of(file))]
        return sorted(found, key=_order)
    if not root.is_file():
        raise TranscriptError(f"{path} does not exist; give a transcript file or a folder of them")
    main = source_of(root)
    if main is None:
        raise TranscriptError(f"{path} is no transcript: its first record has no type")
    return [main, *(() if main.subpath else _subagents(main))]


def _subagents(main: Source) -> list[Source]:
    beside = main.path.parent.glob(f"agent-*{_SUFFIX}")
    below = _files(main.path.with_suffix("") / _SUBAGENTS)
    sources = [source for file in (*beside, *below) if (source := source_of(file))]
    own = [source for source in sources if source.session_id == main.session_id and source.subpath]
    return sorted(own, key=_order)


def _order(source: Source) -> tuple[str, str, str, str]:
    folder = _session_folder(source.path)
    home = folder.parent if folder is not None else source.path.parent
    return str(home), source.session_id, source.subpath, str(source.path)


def _files(root: Path) -> Iterator[Path]:
    for folder, _, names in os.walk(root):
        for name in names:
            file = Path(folder, name)
            if file.suffix == _SUFFIX and not file.is_symlink():
                yield file


def source_of(file: Path) -> Source | None:
    """What one file, which is there, is a transcript of; None where its first records are
    none of a transcript's."""
    folder = _session_folder(file)
    return _loose(file) if folder is None else _nested(file, folder)


def _session_folder(file: Path) -> Path | None:
    """`SESSION` of the layout `PROJECT/SESSION/subagents/**/agent-ID.jsonl`."""
    for parent in file.parents:
        session = parent.parent
        if parent.name == _SUBAGENTS and (
            _UUID.fullmatch(session.name) or session.with_name(session.name + _SUFFIX).is_file()
        ):
            return session
    return None


def _nested(file: Path, folder: Path) -> Source:
    named = _AGENT_FILE.fullmatch(file.stem)
    return Source(
        path=file,
        session_id=folder.name,
        project_key=_project_key(folder.parent),
        agent_id=named["id"] if named else file.stem,
        subpath=file.relative_to(folder).with_suffix("").as_posix(),
    )


def _loose(file: Path) -> Source | None:
    """A main transcript, or a subagent's of CLI 2.0, which stands beside its parent."""
    heads = _heads(file)
    if heads and not any(head.type for head in heads):
        return None
    named = _AGENT_FILE.fullmatch(file.stem)
    agent_id = named["id"] if named else next(filter(None, map(_agent, heads)), None)
    inside = next((found for head in heads if (found := head.session_id or head.session)), None)
    session_id = file.stem if _UUID.fullmatch(file.stem) or inside is None else inside
    return Source(
        path=file,
        session_id=session_id,
        project_key=_project_key(file.parent),
        agent_id=agent_id,
        subpath=f"{_SUBAGENTS}/agent-{agent_id}" if agent_id else "",
    )


def _project_key(folder: Path) -> str | None:
    return folder.name if folder.parent.name == "projects" else None


def _agent(head: _Head) -> str | None:
    return head.agent_id if head.is_sidechain else None


def _heads(file: Path) -> list[_Head]:
    """What the first records say of whose they are, up to the first that says it."""
    heads: list[_Head] = []
    for line in islice(LineFile(file).read_new(), _PEEKED_LINES):
        if not isinstance(line, Line):
            continue
        try:
            head = wire.read(_Head, line.raw)
        except (ValueError, RecursionError):
            continue
        heads.append(head)
        if head.session_id or head.session:
            break
    return heads
