"""Replay: the detectors over transcripts that are there already.

From the store, where it yields the verdicts that were found live; or from transcript
files, old ones of any agent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
from claude_agent_sdk import SessionKey

from supervisor.core.detector import DetectorConfig
from supervisor.core.verdict import Verdict
from supervisor.errors import TranscriptError
from supervisor.ingest.discover import Source, find_transcripts
from supervisor.ingest.lines import Fault, Line, LineFile
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge, Judged, Trouble
from supervisor.store.interface import SessionRow, Store

__all__ = ["Scanned", "configs_of", "replay", "scan"]

_BATCH = 500
"""Lines written to the store at once."""


def configs_of(session: SessionRow) -> Mapping[str, DetectorConfig]:
    """The detectors' configuration that the session ran under."""
    stored = json.loads(session.policy)["detectors"] if session.policy else {}
    kinds = registry.detectors()
    return {
        name: kinds[name].Config.model_validate(config)
        for name, config in stored.items()
        if name in kinds
    }


async def replay(store: Store, session: SessionRow) -> AsyncIterator[Judged]:
    """Judge a stored session again, entry by entry and then its end."""
    judge = Judge(session.session_id, registry.detectors(), configs_of(session))
    async for stored in store.entries(session.session_id):
        yield judge.observe(stored)
    yield judge.finish()


class Scanned(msgspec.Struct, kw_only=True):
    """What was found in one session's transcript files."""

    session_id: str
    files: list[Path]
    lines: int = 0
    verdicts: list[Verdict] = []
    troubles: list[tuple[str, Trouble]] = []
    """Each with its place: `file:line`, or the session's entry."""


async def scan(
    paths: Sequence[Path], store: Store, configs: Mapping[str, DetectorConfig]
) -> AsyncIterator[Scanned]:
    """Read the transcripts at and below `paths` into `store` and judge them, session by
    session, subagents with their parent. What cannot be read is told with its place, and
    the rest is read. Raises `TranscriptError` where there is no transcript at all."""
    sources = [source for path in paths for source in find_transcripts(path)]
    if not sources:
        places = ", ".join(str(path) for path in paths)
        raise TranscriptError(f"no transcript (*.jsonl) in {places}")
    sessions: dict[tuple[str | None, str], list[Source]] = {}
    for source in sources:
        sessions.setdefault((source.project_key, source.session_id), []).append(source)
    for (_, session_id), members in sessions.items():
        judge = Judge(session_id, registry.detectors(), configs)
        found = Scanned(session_id=session_id, files=[source.path for source in members])
        for source in members:
            await _scan_file(source, store, judge, found)
        _add(found, judge.finish(), "the end")
        yield found


async def _scan_file(source: Source, store: Store, judge: Judge, found: Scanned) -> None:
    key = SessionKey(project_key=source.project_key or "-", session_id=source.session_id)
    if source.subpath:
        key["subpath"] = source.subpath
    batch: list[Line] = []
    for item in _items(source.path):
        if isinstance(item, Fault):
            place = f"{source.path}:{item.number}"
            found.troubles.append((place, Trouble("ingest", None, item.message)))
            continue
        batch.append(item)
        if len(batch) == _BATCH:
            await _judge_lines(source, key, batch, store, judge, found)
            batch = []
    await _judge_lines(source, key, batch, store, judge, found)


def _items(path: Path) -> Iterator[Line | Fault]:
    file = LineFile(path)
    yield from file.read_new()
    if (rest := file.take_rest()) is not None:
        yield rest


async def _judge_lines(
    source: Source, key: SessionKey, lines: list[Line], store: Store, judge: Judge, found: Scanned
) -> None:
    stored = await store.write(
        key,
        [line.raw for line in lines],
        session_id=source.session_id,
        offsets=[line.offset for line in lines],
    )
    found.lines += len(lines)
    places = {line.raw: line.number for line in lines}
    for entry in stored:
        _add(found, judge.observe(entry), f"{source.path}:{places[entry.raw]}")


def _add(found: Scanned, judged: Judged, place: str) -> None:
    found.verdicts.extend(judged.verdicts)
    found.troubles.extend((place, trouble) for trouble in judged.troubles)
