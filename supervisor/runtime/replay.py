"""Replay: the detectors over transcripts that are there already.

From the store, where it yields the verdicts that were found live; or from transcript
files, old ones of any agent.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

import msgspec

from supervisor.core.detector import DetectorConfig
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import TranscriptError
from supervisor.ingest.discover import Source, find_transcripts
from supervisor.ingest.lines import Fault, Line, read_finished
from supervisor.policy.engine import LIMITS
from supervisor.policy.judge import JUDGE
from supervisor.policy.risk import RiskUse
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge, Judged, Trouble, objective_in
from supervisor.store.codec import key_of
from supervisor.store.interface import Incident, SessionRow, Store

__all__ = ["NOT_REPLAYED", "Scanned", "configs_of", "replay", "scan"]

NOT_REPLAYED = frozenset({JUDGE, LIMITS, "diagnosis"})
"""Who finds what no detector does: a replay cannot find it again."""

_BATCH = 500
"""Lines written to the store at once."""

_NO_PROJECT = ""
"""The project of a transcript file that stands outside a projects folder."""


def configs_of(session: SessionRow) -> Mapping[str, DetectorConfig]:
    """The detectors' configuration that the session ran under."""
    stored = json.loads(session.policy)["detectors"] if session.policy else {}
    kinds = registry.detectors()
    return {
        name: kinds[name].Config.model_validate(config)
        for name, config in stored.items()
        if name in kinds
    }


def _risk_of(session: SessionRow) -> RiskUse:
    """What the session's policy made of its risk."""
    stored = json.loads(session.policy).get("risk", {}) if session.policy else {}
    return RiskUse.model_validate(stored)


async def replay(store: Store, session: SessionRow) -> AsyncIterator[Judged]:
    """Judge a stored session again, entry by entry and then its end."""
    judge = Judge(session.session_id, registry.detectors(), configs_of(session), _risk_of(session))
    async for stored in store.entries(session.session_id):
        yield judge.observe(stored)
    yield judge.finish()


class Scanned(msgspec.Struct, kw_only=True):
    """What was found in one session's transcript files."""

    session_id: str
    files: list[Path]
    lines: int = 0
    objective: str | None = None
    verdicts: list[Verdict] = []
    incidents: list[Incident] = []

    def add_trouble(self, trouble: Trouble, place: str) -> None:
        """Note what went wrong, and at which file and line."""
        self.incidents.append(
            Incident(
                session_id=self.session_id,
                seq=trouble.seq,
                at=datetime.now(UTC),
                source=trouble.source,
                place=place,
                message=trouble.message,
            )
        )


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
    for (project_key, session_id), members in sessions.items():
        row = await store.create_session(session_id, project_key=project_key or _NO_PROJECT)
        judge = Judge(row.session_id, registry.detectors(), configs)
        found = Scanned(session_id=row.session_id, files=[source.path for source in members])
        for source in members:
            await _scan_file(source, store, judge, found)
        _add(found, judge.finish(), "the end")
        await store.record(*found.verdicts, *found.incidents)
        await store.update_session(
            row.session_id, state=SessionState.CLOSED, objective=found.objective
        )
        yield found


async def _scan_file(source: Source, store: Store, judge: Judge, found: Scanned) -> None:
    lines = read_finished(source.path)
    while batch := list(islice(lines, _BATCH)):
        for item in batch:
            if isinstance(item, Fault):
                trouble = Trouble("ingest", None, item.message)
                found.add_trouble(trouble, f"{source.path}:{item.number}")
        read = [item for item in batch if isinstance(item, Line)]
        await _judge_lines(source, read, store, judge, found)


async def _judge_lines(
    source: Source, lines: list[Line], store: Store, judge: Judge, found: Scanned
) -> None:
    key = key_of(source.project_key or _NO_PROJECT, source.session_id, source.subpath)
    stored = await store.write(
        key,
        [line.raw for line in lines],
        session_id=found.session_id,
        offsets=[line.offset for line in lines],
    )
    found.lines += len(lines)
    walk = iter(lines)
    for entry in stored:
        # The store returns the new ones, in order, each holding the line's own bytes.
        line = next(line for line in walk if line.raw is entry.raw)
        judged = judge.observe(entry)
        found.objective = found.objective or objective_in(judged.entries)
        _add(found, judged, f"{source.path}:{line.number}")


def _add(found: Scanned, judged: Judged, place: str) -> None:
    found.verdicts.extend(judged.verdicts)
    for trouble in judged.troubles:
        found.add_trouble(trouble, place)
