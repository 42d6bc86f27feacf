"""Transcripts to supervise, plugins to do it with, and a database that fails on demand."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from claude_agent_sdk import SessionKey

from supervisor.core.action import Capability
from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.supervision import Event, Supervision
from supervisor.store.interface import Store, StoredEntry
from supervisor.store.sqlite import SqliteStore

STARTED = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
MAIN = "11111111-1111-4111-8111-111111111111"
"""The SDK session id of the transcripts that these tests write."""
PROJECT = "-work-shop"


class Transcript:
    """Writes the lines of one transcript as the CLI does."""

    def __init__(self, sdk_session_id: str = MAIN, agent_id: str | None = None) -> None:
        self.sdk_session_id = sdk_session_id
        self.agent_id = agent_id
        self.lines: list[bytes] = []
        self._parent: str | None = None

    @property
    def key(self) -> SessionKey:
        key = SessionKey(project_key=PROJECT, session_id=self.sdk_session_id)
        if self.agent_id is not None:
            key["subpath"] = f"subagents/agent-{self.agent_id}"
        return key

    @property
    def entries(self) -> list[Any]:
        """The lines as the SDK hands them over."""
        return [json.loads(line) for line in self.lines]

    def uuid(self, number: int) -> str:
        """Of the line of this number, from 1."""
        return str(uuid5(NAMESPACE_URL, f"{self.sdk_session_id}/{self.agent_id}/{number}"))

    def stored(self, *, after: int = 0, inherited: bool = False) -> list[StoredEntry]:
        """The lines as a store returns them, numbered on from `after`."""
        return [
            StoredEntry(
                session_id="s",
                seq=after + number,
                transcript=self.sdk_session_id,
                subpath=self.key.get("subpath", ""),
                uuid=self.uuid(number),
                inherited=inherited,
                raw=line,
            )
            for number, line in enumerate(self.lines, 1)
        ]

    def line(self, kind: str, **fields: Any) -> bytes:
        """Write a line; returns it."""
        number = len(self.lines) + 1
        at = STARTED + timedelta(seconds=number)
        record: dict[str, Any] = {
            "type": kind,
            "uuid": self.uuid(number),
            "parentUuid": self._parent,
            "sessionId": self.sdk_session_id,
            "timestamp": at.isoformat().replace("+00:00", "Z"),
            "isSidechain": self.agent_id is not None,
        }
        if self.agent_id is not None:
            record["agentId"] = self.agent_id
        self.lines.append(json.dumps(record | fields).encode())
        self._parent = record["uuid"]
        return self.lines[-1]

    def prompt(self, text: str = "Find the cause.") -> bytes:
        return self.line("user", message={"role": "user", "content": text})

    def text(self, text: str, stop: str | None = "end_turn") -> bytes:
        return self._says({"type": "text", "text": text}, stop)

    def call(self, call_id: str, tool: str = "Bash", **given: Any) -> bytes:
        block = {"type": "tool_use", "id": call_id, "name": tool, "input": given}
        return self._says(block, "tool_use")

    def result(self, call_id: str, text: str = "ok", *, is_error: bool = False) -> bytes:
        block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
        content = [block | ({"is_error": True} if is_error else {})]
        return self.line("user", message={"role": "user", "content": content})

    def step(self, call_id: str, result: str = "ok", tool: str = "Bash", **given: Any) -> bytes:
        """A call and its result, in two lines."""
        self.call(call_id, tool, **given)
        return self.result(call_id, result)

    def _says(self, block: dict[str, Any], stop: str | None) -> bytes:
        message = {
            "id": f"msg_{len(self.lines)}",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": [block],
            "stop_reason": stop,
        }
        return self.line("assistant", message=message)


@pytest.fixture
def transcript() -> Transcript:
    return Transcript()


Install = Callable[..., None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Install a distribution of plugins for the time of the test.

    `install(detectors=["marker = some.module:Marker"], actions=[...])`
    """

    def write(name: str = "their-plugins", **groups: list[str]) -> None:
        site = tmp_path / name
        info = site / f"{name.replace('-', '_')}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        blocks = [f"[lucid.{group}]\n" + "\n".join(points) for group, points in groups.items()]
        (info / "entry_points.txt").write_text("\n\n".join(blocks) + "\n")
        monkeypatch.syspath_prepend(site)
        _forget_plugins()

    yield write
    monkeypatch.undo()
    _forget_plugins()


def _forget_plugins() -> None:
    registry.detectors.cache_clear()
    registry.actions.cache_clear()


@pytest.fixture
def marker(install: Install) -> None:
    """The detector that finds what a test marks; see `plugins.Marker`."""
    install(detectors=["marker = tests.unit.runtime.plugins:Marker"])


def policy_of(ladder: str = "[nudge, correct]", **settings: str) -> Policy:
    """A policy that answers the marker's verdicts, and nobody else's."""
    lines = [f"{name}: {value}" for name, value in settings.items()]
    rule = f"rules: [{{name: marked, on: drift, detector: marker, ladder: {ladder}}}]"
    return parse_policy(
        "\n".join(["version: 1", *lines, rule]),
        "p.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


class Clock:
    """A second passes each time it is asked."""

    def __init__(self) -> None:
        self.time = STARTED + timedelta(minutes=1)

    def __call__(self) -> datetime:
        self.time += timedelta(seconds=1)
        return self.time


@dataclass
class Watched:
    """A supervision, and what it told and started."""

    supervision: Supervision
    store: Store
    told: list[Event] = field(default_factory=list)
    started: list[Decision] = field(default_factory=list)

    @property
    def verdicts(self) -> list[Verdict]:
        return [event for event in self.told if isinstance(event, Verdict)]

    @property
    def decisions(self) -> list[Decision]:
        return [event for event in self.told if isinstance(event, Decision)]

    @property
    def outcomes(self) -> list[Outcome]:
        return [event for event in self.told if isinstance(event, Outcome)]

    async def take(self, transcript: Transcript, *lines: bytes) -> None:
        """Feed these lines of a transcript, or all of it."""
        await self.supervision.take(transcript.key, lines or transcript.lines)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[SqliteStore]:
    async with SqliteStore(tmp_path / "lucid.db") as store:
        yield store


Watch = Callable[..., Watched]


@pytest.fixture
async def watch(store: SqliteStore) -> Watch:
    """Make a supervision of the session "s", which the store knows."""
    await store.create_session("s", project_key=PROJECT)

    def make(
        policy: Policy | None = None,
        capabilities: frozenset[Capability] = frozenset(Capability),
        act: Callable[[Decision], None] = lambda decision: None,
        tell: Callable[[Event], None] = lambda event: None,
    ) -> Watched:
        told: list[Event] = []
        started: list[Decision] = []

        def note_act(decision: Decision) -> None:
            started.append(decision)
            act(decision)

        def note_event(event: Event) -> None:
            told.append(event)
            tell(event)

        supervision = Supervision(
            session_id="s",
            store=store,
            policy=policy or policy_of(),
            capabilities=lambda agent_id: capabilities,
            act=note_act,
            tell=note_event,
            now=Clock(),
        )
        return Watched(supervision, store, told, started)

    return make


Breaking = Callable[..., Any]


@pytest.fixture
def broken(store: SqliteStore) -> Breaking:
    """Have the database refuse: `with broken("INSERT ON decision"): ...`"""

    @contextmanager
    def refuse(what: str) -> Iterator[None]:
        with sqlite3.connect(str(store.path)) as db:
            db.execute(
                f"CREATE TRIGGER broken BEFORE {what} "
                "BEGIN SELECT RAISE(ABORT, 'broken by a test'); END"
            )
        db.close()
        yield
        with sqlite3.connect(str(store.path)) as db:
            db.execute("DROP TRIGGER broken")
        db.close()

    return refuse
