"""The service on a port of this host, with a real store, and what can be asked of it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.privacy.redaction import Redactor
from supervisor.runtime.account import Event
from supervisor.service.address import Address, listen_on
from supervisor.service.app import create_app
from supervisor.service.leaving import Leaving
from supervisor.service.live import Live
from supervisor.service.readiness import Readiness
from supervisor.service.service import Service
from supervisor.service.serving import served
from supervisor.sidecar.events import Missed
from supervisor.sidecar.hook import Hook
from supervisor.store.interface import Incident, Store
from supervisor.store.sqlite import SqliteStore

TOKEN = "a-token-of-the-tests"
AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class Answers:
    """A window that says what it was told to, and keeps what came."""

    def __init__(self) -> None:
        self.came: list[tuple[Hook, float | None]] = []
        self.says: dict[str, object] = {}
        self.error: Exception | None = None

    async def answer(self, hook: Hook, *, within: float | None = None) -> dict[str, object]:
        self.came.append((hook, within))
        if self.error is not None:
            raise self.error
        return self.says


class Happenings:
    """A source whose events the test makes; None is the end."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[Event | Missed | None] = asyncio.Queue()

    async def events(self) -> AsyncIterator[Event | Missed]:
        while (event := await self.queue.get()) is not None:
            yield event


@dataclass
class Running:
    """A service that runs."""

    address: Address
    client: aiohttp.ClientSession
    store: Store
    window: Answers
    live: Live
    source: Happenings
    lacks: list[str] = field(default_factory=list)

    async def get(self, path: str, **headers: str) -> tuple[int, Any]:
        """The status and the JSON of a request with the token."""
        async with self.client.get(path, headers={**BEARER, **headers}) as response:
            return response.status, json.loads(await response.read())

    async def page(self, path: str) -> tuple[list[Any], str | None]:
        """What a page holds."""
        status, page = await self.get(path)
        assert status == 200, page
        return page["items"], page["next"]


BEARER = {"Authorization": f"Bearer {TOKEN}"}
Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Starts a service; all of them end with the test."""
    async with AsyncExitStack() as stack:

        async def started(*, kept: int = 100, heartbeat: float = 15.0, **options: Any) -> Running:
            store = await stack.enter_async_context(SqliteStore())
            leaving = Leaving(Redactor())
            window, source = Answers(), Happenings()
            live = Live(leaving, kept=kept, heartbeat=heartbeat)
            lacks: list[str] = []
            service = Service(
                store=store,
                readiness=Readiness(store, lambda: tuple(lacks), keep=0.0),
                leaving=leaving,
                window=window,
                live=live,
            )
            app = create_app(service, **{"token": TOKEN, **options})
            address = Address("127.0.0.1", 0)
            address = await stack.enter_async_context(served(app, address, listen_on(address)))
            following = asyncio.create_task(live.follow(source))
            stack.callback(following.cancel)
            stack.callback(live.close)
            client = aiohttp.ClientSession(str(address))
            await stack.enter_async_context(client)
            return Running(address, client, store, window, live, source, lacks)

        yield started


@pytest.fixture
async def running(start: Start) -> Running:
    """A service as it is by default."""
    return await start()


def key(transcript: str = "sdk-1", subpath: str = "") -> SessionKey:
    """Of a transcript."""
    made = SessionKey(project_key="-work", session_id=transcript)
    if subpath:
        made["subpath"] = subpath
    return made


async def written(store: Store, lines: Sequence[object], transcript: str = "sdk-1") -> str:
    """Put a transcript into the store; returns its session's id."""
    raws = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    await store.write(key(transcript), raws)
    return transcript


def verdict(seq: int = 1, session_id: str = "sdk-1", summary: str = "It loops.") -> Verdict:
    """A finding."""
    return Verdict(
        session_id=session_id,
        transcript=session_id,
        seq=seq,
        onset_seq=seq,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.9,
        summary=summary,
        evidence=Evidence(entries=(seq,)),
    )


def decision(seq: int = 1, session_id: str = "sdk-1") -> Decision:
    """A choice made for it."""
    return Decision(
        id=f"decision-{seq}",
        session_id=session_id,
        seq=seq,
        at=AT,
        verdict=verdict(seq, session_id),
        choice=Choice.ACT,
        reason="The rule says so.",
        action="nudge",
        params={"text": "Try something else."},
    )


def outcome(seq: int = 1, session_id: str = "sdk-1") -> Outcome:
    """What came of it."""
    return Outcome(
        session_id=session_id,
        decision_id=f"decision-{seq}",
        action="nudge",
        failure_mode=FailureMode.LOOP,
        status=OutcomeStatus.CLEARED,
        seq=seq + 1,
        at=AT,
        reason="It did not come again.",
    )


def incident(session_id: str = "sdk-1", message: str = "A line is no JSON.") -> Incident:
    """What went wrong on our side."""
    return Incident(session_id=session_id, at=AT, source="ingest", message=message)
