"""What the service offers: one table, from which routes and documentation are made."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.service import endpoints
from supervisor.service.paging import DEFAULT_LIMIT, MOST
from supervisor.service.schema import Health, HookBody, Page, Readiness, Session, TranscriptEntry
from supervisor.service.service import Service
from supervisor.store.interface import Incident

__all__ = ["OPERATIONS", "Operation", "Parameter"]

Handle = Callable[[Service, Request], Awaitable[Response]]
Schema = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Parameter:
    """Something that a request may say beside its path."""

    name: str
    place: str
    about: str
    schema: Schema
    required: bool = False


@dataclass(frozen=True, kw_only=True)
class Operation:
    """One thing to ask for."""

    path: str
    handle: Handle
    summary: str
    about: str = ""
    method: str = "GET"
    takes: object = None
    """The type of its body."""
    returns: object = None
    """The type of its answer, where that is JSON of ours."""
    media: str = "application/json"
    parameters: tuple[Parameter, ...] = ()
    refuses: tuple[int, ...] = ()
    """Statuses besides those that any request may get."""
    needs: str | None = None
    """The part of the service without which it is not there."""
    is_open: bool = False
    """Whether it is for everybody, token or not."""


_LIMIT = Parameter(
    name="limit",
    place="query",
    about="How many items at the most.",
    schema={"type": "integer", "minimum": 1, "maximum": MOST, "default": DEFAULT_LIMIT},
)
_CURSOR = Parameter(
    name="cursor",
    place="query",
    about="Where to go on: the `next` of the page before.",
    schema={"type": "string"},
)
_ENTRY_CURSOR = Parameter(
    name="cursor",
    place="query",
    about="Where to go on: the `next` of the page before, or any `seq`: what comes after it.",
    schema={"type": "string", "pattern": "^[0-9]{1,16}$"},
)
_SESSION_ID = Parameter(
    name="session_id",
    place="path",
    about="Its id, an unambiguous beginning of it, or the id of one of its transcripts.",
    schema={"type": "string", "maxLength": 256},
    required=True,
)
_LAST_EVENT_ID = Parameter(
    name="Last-Event-ID",
    place="header",
    about="The `id` of the last event that came, to have those that came since.",
    schema={"type": "string"},
)
_TIMEOUT = Parameter(
    name="Lucid-Timeout",
    place="header",
    about="After how many seconds the CLI gives up; the answer comes before.",
    schema={"type": "number", "exclusiveMinimum": 0},
)

_PAGED = (_SESSION_ID, _LIMIT, _CURSOR)
_API = "/api/v1"
_ONE = f"{_API}/sessions/{{session_id}}"
_STREAM_ABOUT = (
    "Server-sent events named `verdict`, `decision`, `outcome` and `incident`, whose data are "
    "those types; `missed` with a `count` (null: unknown) where some were left out. A comment "
    "comes every 15 s."
)

OPERATIONS = (
    Operation(
        path="/hooks",
        method="POST",
        handle=endpoints.hooks,
        summary="Answer an agent's hook",
        about="The body is what Claude Code posts to `http` hooks; the answer is what it takes. "
        "`POST /hooks/TOKEN` is the same, for a client that cannot send a header.",
        takes=HookBody,
        returns=dict[str, Any],
        parameters=(_TIMEOUT,),
        refuses=(400, 408, 413),
        needs="window",
    ),
    Operation(
        path="/healthz",
        handle=endpoints.healthz,
        summary="Whether the process answers",
        returns=Health,
        is_open=True,
    ),
    Operation(
        path="/readyz",
        handle=endpoints.readyz,
        summary="Whether the process can do its work, and why not",
        about="503 with the same body where it cannot.",
        returns=Readiness,
        is_open=True,
    ),
    Operation(
        path="/metrics",
        handle=endpoints.metrics,
        summary="Metrics for Prometheus",
        media="text/plain",
    ),
    Operation(
        path=f"{_API}/openapi.json",
        handle=endpoints.document,
        summary="This document",
        returns=dict[str, Any],
    ),
    Operation(
        path=f"{_API}/sessions",
        handle=endpoints.sessions,
        summary="Sessions, the last changed first",
        about="One that changes while pages are read moves to the front.",
        returns=Page[Session],
        parameters=(_LIMIT, _CURSOR),
        refuses=(400, 503),
    ),
    Operation(
        path=_ONE,
        handle=endpoints.session,
        summary="A session",
        returns=Session,
        parameters=(_SESSION_ID,),
        refuses=(404, 503),
    ),
    Operation(
        path=f"{_ONE}/entries",
        handle=endpoints.entries,
        summary="A session's transcript, oldest first",
        about="Secrets are taken out. A page also ends after 4 MiB.",
        returns=Page[TranscriptEntry],
        parameters=(_SESSION_ID, _LIMIT, _ENTRY_CURSOR),
        refuses=(400, 404, 503),
    ),
    Operation(
        path=f"{_ONE}/verdicts",
        handle=endpoints.verdicts,
        summary="What detectors found in a session",
        returns=Page[Verdict],
        parameters=_PAGED,
        refuses=(400, 404, 503),
    ),
    Operation(
        path=f"{_ONE}/decisions",
        handle=endpoints.decisions,
        summary="What the policy chose, and why",
        returns=Page[Decision],
        parameters=_PAGED,
        refuses=(400, 404, 503),
    ),
    Operation(
        path=f"{_ONE}/outcomes",
        handle=endpoints.outcomes,
        summary="What came of the actions",
        returns=Page[Outcome],
        parameters=_PAGED,
        refuses=(400, 404, 503),
    ),
    Operation(
        path=f"{_ONE}/incidents",
        handle=endpoints.incidents,
        summary="What went wrong on Lucid's side",
        returns=Page[Incident],
        parameters=_PAGED,
        refuses=(400, 404, 503),
    ),
    Operation(
        path=f"{_ONE}/events",
        handle=endpoints.session_events,
        summary="A session's events as they come",
        about=_STREAM_ABOUT,
        media="text/event-stream",
        parameters=(_SESSION_ID, _LAST_EVENT_ID),
        refuses=(404, 503),
        needs="live",
    ),
    Operation(
        path=f"{_API}/events",
        handle=endpoints.events,
        summary="All sessions' events as they come",
        about=_STREAM_ABOUT,
        media="text/event-stream",
        parameters=(_LAST_EVENT_ID,),
        refuses=(503,),
        needs="live",
    ),
)
"""Everything that may be asked for."""
