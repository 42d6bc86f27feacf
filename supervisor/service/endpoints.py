"""The answers to requests, one function each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, Sequence

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.errors import HookError
from supervisor.service import schema
from supervisor.service.body import body_of
from supervisor.service.paging import (
    Place,
    after_number,
    cursor_of,
    limit_of,
    place_of,
    position_of,
)
from supervisor.service.problem import Refused, answer
from supervisor.service.service import Service
from supervisor.sidecar.hook import LARGEST_BODY, read_hook
from supervisor.store.interface import Incident, Listed, SessionRow, StoredEntry

__all__ = [
    "decisions",
    "document",
    "entries",
    "events",
    "healthz",
    "hooks",
    "incidents",
    "metrics",
    "outcomes",
    "readyz",
    "session",
    "session_events",
    "sessions",
    "verdicts",
]

_PAGE_BYTES = 4 * 1024 * 1024
"""Of raw entries; a page ends with the entry that goes beyond it."""

_LONGEST_ID = 256


async def hooks(service: Service, request: Request) -> Response:
    """What an agent's CLI posts."""
    assert service.window is not None, "the route is there where the window is"
    body = await body_of(request, LARGEST_BODY)
    try:
        hook = read_hook(body)
    except HookError as error:
        raise Refused(error.status, str(error)) from error
    return answer(await service.window.answer(hook, within=_within(request)))


def _within(request: Request) -> float | None:
    """How long the CLI waits, in seconds, as its settings have the header say."""
    try:
        seconds = float(request.headers.get("lucid-timeout", ""))
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds > 0 else None


async def healthz(service: Service, request: Request) -> Response:
    """Alive."""
    return answer(schema.Health(version=service.version))


async def readyz(service: Service, request: Request) -> Response:
    """Ready, or why not."""
    reasons = await service.readiness.reasons()
    said = schema.Readiness(ready=not reasons, reasons=reasons)
    return answer(said, 503 if reasons else 200)


async def metrics(service: Service, request: Request) -> Response:
    """What Prometheus scrapes."""
    return Response(await asyncio.to_thread(generate_latest), media_type=CONTENT_TYPE_LATEST)


async def document(service: Service, request: Request) -> Response:
    """What this service offers, as OpenAPI has it."""
    from supervisor.service.openapi import openapi

    return answer(openapi())


async def sessions(service: Service, request: Request) -> Response:
    """All sessions, the last changed first."""
    limit, place = limit_of(request), place_of(request)
    before = (place.updated_at, place.session_id) if place is not None else None
    rows = await service.store.sessions(limit + 1, before=before)
    items = await asyncio.to_thread(service.leaving.values, [_session(row) for row in rows[:limit]])
    more = rows[limit - 1] if len(rows) > limit else None
    cursor = str(Place(more.updated_at, more.session_id)) if more is not None else None
    return answer(schema.Page(items=items, next=cursor))


async def session(service: Service, request: Request) -> Response:
    """One session."""
    return answer(service.leaving.value(_session(await _row(service, request))))


async def entries(service: Service, request: Request) -> Response:
    """A session's transcript."""
    limit, after = limit_of(request), after_number(request)
    row = await _row(service, request)
    found = await _entries(service, row.session_id, after, limit)
    # Secrets are looked for with many patterns: hooks must not wait for it.
    items = await asyncio.to_thread(service.leaving.entries, found)
    last = found[-1].seq if found else row.entries
    return answer(schema.Page(items=items, next=str(last) if last < row.entries else None))


async def _entries(
    service: Service, session_id: str, after: int, limit: int
) -> Sequence[StoredEntry]:
    found: list[StoredEntry] = []
    size = 0
    reading = service.store.entries(session_id, after=after)
    try:
        async for entry in reading:
            found.append(entry)
            size += len(entry.raw)
            if len(found) == limit or size >= _PAGE_BYTES:
                break
    finally:
        if isinstance(reading, AsyncGenerator):
            await reading.aclose()
    return found


async def verdicts(service: Service, request: Request) -> Response:
    """What detectors found in a session."""
    return await _recorded(service, request, Verdict)


async def decisions(service: Service, request: Request) -> Response:
    """What the policy chose."""
    return await _recorded(service, request, Decision)


async def outcomes(service: Service, request: Request) -> Response:
    """What came of it."""
    return await _recorded(service, request, Outcome)


async def incidents(service: Service, request: Request) -> Response:
    """What went wrong on Lucid's side."""
    return await _recorded(service, request, Incident)


async def _recorded(service: Service, request: Request, kind: type[Listed]) -> Response:
    limit, after = limit_of(request), position_of(request)
    row = await _row(service, request)
    part = await service.store.recorded(kind, row.session_id, after=after, limit=limit)
    items = await asyncio.to_thread(service.leaving.values, part.items)
    return answer(schema.Page(items=items, next=cursor_of(part.end)))


async def events(service: Service, request: Request) -> Response:
    """All sessions' events as they come."""
    return _stream(service, request, None)


async def session_events(service: Service, request: Request) -> Response:
    """One session's."""
    return _stream(service, request, (await _row(service, request)).session_id)


def _stream(service: Service, request: Request, session_id: str | None) -> Response:
    assert service.live is not None, "the route is there where events are"
    stream = service.live.stream(request.headers.get("last-event-id"), session_id)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(stream, media_type="text/event-stream", headers=headers)


async def _row(service: Service, request: Request) -> SessionRow:
    """The session of the path: its id, an unambiguous beginning of it, or the id of one of
    its transcripts. Raises `TranscriptError` where there is none."""
    session_id = request.path_params["session_id"]
    if len(session_id) > _LONGEST_ID:
        raise Refused(404, "no session has so long an id")
    return await service.store.session(session_id)


def _session(row: SessionRow) -> schema.Session:
    held = row.lease
    return schema.Session(
        session_id=row.session_id,
        project_key=row.project_key,
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=row.state,
        state_reason=row.state_reason,
        head=row.head,
        objective=row.objective,
        cwd=row.cwd,
        entries=row.entries,
        verdicts=row.verdicts,
        interventions=row.interventions,
        held_by=held.owner if held is not None else None,
        held_until=held.expires_at if held is not None else None,
    )
