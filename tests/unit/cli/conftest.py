"""A session to look at: a loop that was rolled back, a subagent, and text that attacks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import SessionKey
from click.testing import CliRunner, Result

from supervisor.cli.commands import lucid as commands
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from supervisor.store.interface import Incident, Store
from supervisor.store.sqlite import SqliteStore

MAIN = "11111111-1111-4111-8111-111111111111"
FORK = "22222222-2222-4222-8222-222222222222"
HELPER = "a6eb5de3336943c33"
EVIL = "\x1b[2J\x1b]0;owned\x07 \u202eevil \x9b31m"
AT = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


class Writer:
    """Writes lines of a transcript as the CLI does."""

    def __init__(self, transcript: str, agent_id: str | None = None) -> None:
        self.transcript = transcript
        self.agent_id = agent_id
        self.lines: list[dict[str, Any]] = []

    @property
    def key(self) -> SessionKey:
        key = SessionKey(project_key="-work", session_id=self.transcript)
        if self.agent_id is not None:
            key["subpath"] = f"subagents/agent-{self.agent_id}"
        return key

    def line(self, role: str, content: object, **fields: object) -> None:
        number = len(self.lines)
        of_agent = {"agentId": self.agent_id, "isSidechain": True} if self.agent_id else {}
        self.lines.append(
            {
                "type": role,
                "uuid": f"{self.transcript[:8]}-{self.agent_id or 'main'}-{number}",
                "sessionId": self.transcript,
                "timestamp": f"2026-01-01T12:00:{number:02}.000Z",
                "message": {"role": role, "id": f"msg_{number}", "content": content, **fields},
                **of_agent,
            }
        )

    def step(self, call_id: str, command: str, result: str) -> None:
        """A tool call and its result."""
        call = {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": command}}
        self.line("assistant", [call], stop_reason="tool_use")
        self.line("user", [{"type": "tool_result", "tool_use_id": call_id, "content": result}])

    def text(self, text: str) -> None:
        self.line("assistant", [{"type": "text", "text": text}], stop_reason="end_turn")

    def copied(self, source: Writer, count: int) -> None:
        """The first lines of another transcript, as a fork has them."""
        for number, line in enumerate(source.lines[:count]):
            origin = {"sessionId": source.transcript, "messageUuid": line["uuid"]}
            own = {"uuid": f"{self.transcript[:8]}-copy-{number}", "sessionId": self.transcript}
            self.lines.append(line | own | {"forkedFrom": origin})

    @property
    def raws(self) -> list[bytes]:
        return [json.dumps(line).encode() for line in self.lines]


async def fill(path: Path) -> None:
    """The session: a prompt, a step, a subagent's answer, three equal steps, a rollback to
    behind the first step, an answer."""
    async with SqliteStore(path) as store:
        await store.create_session(MAIN, project_key="-work", objective=f"Find the cause. {EVIL}")
        main, helper, fork = Writer(MAIN), Writer(MAIN, HELPER), Writer(FORK)
        main.line("user", "Find the cause.")
        main.step("look", "ls", "build.log")
        helper.text("I am the helper.")
        await store.write(main.key, main.raws, session_id=MAIN)
        await store.write(helper.key, helper.raws, session_id=MAIN)
        count = len(main.lines)
        for number in range(3):
            main.step(f"again-{number}", "cat build.log", f"waiting {EVIL}")
        await store.write(main.key, main.raws[count:], session_id=MAIN)
        fork.copied(main, count)
        await store.write(fork.key, fork.raws, session_id=MAIN)
        fork.lines.clear()
        fork.line("user", "<lucid>\nYou were taken back.\n</lucid>")
        fork.text("The disk was full.")
        await store.write(fork.key, fork.raws, session_id=MAIN)
        await conclude(store)


async def conclude(store: Store) -> None:
    """Record what the detectors find, one decision, its outcome, and an incident."""
    judge = Judge(MAIN, registry.detectors(), {})
    judged = [judge.observe(stored) async for stored in store.entries(MAIN)]
    (verdict,) = (found for each in [*judged, judge.finish()] for found in each.verdicts)
    decision = Decision(
        id="d1",
        session_id=MAIN,
        seq=verdict.seq,
        at=AT,
        verdict=verdict,
        choice=Choice.ACT,
        reason="'break loops' begins its ladder",
        rule="break loops",
        rung=0,
        action="rollback",
    )
    outcome = Outcome(
        session_id=MAIN,
        decision_id="d1",
        action="rollback",
        failure_mode=verdict.failure_mode,
        status=OutcomeStatus.CLEARED,
        seq=verdict.seq + 1,
        at=AT,
        reason="the turn ended without it",
        did="rolled back",
    )
    incident = Incident(session_id=MAIN, at=AT, source="ingest", place=EVIL, message=EVIL)
    await store.record(verdict, decision, outcome, incident)
    await store.update_session(MAIN, state=SessionState.REACHED, state_reason="", head=FORK)


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A store with that session in it."""
    path = tmp_path / "lucid.db"
    asyncio.run(fill(path))
    return path


Lucid = Callable[..., Result]


@pytest.fixture
def lucid(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lucid:
    """Run a command line, with `lucid.db` in the test's folder as the store."""
    monkeypatch.setenv("LUCID_STORE", str(tmp_path / "lucid.db"))
    monkeypatch.setenv("TZ", "UTC")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(commands, list(arguments), prog_name="lucid")

    return run


def unprintable(text: str) -> Sequence[str]:
    """The characters that could steer a terminal."""
    return [char for char in text if char != "\n" and not char.isprintable()]
