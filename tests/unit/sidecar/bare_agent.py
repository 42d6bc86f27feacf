"""An agent as it is, as far as its transcript files go; and a sidecar beside it."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio

from supervisor.policy.load import load_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.settings import Settings
from supervisor.sidecar.sidecar import Sidecar
from supervisor.sidecar.watching import Watch
from supervisor.store.interface import Store

PROJECT = "-work-shop"
LONGEST = 20.0
"""Seconds until a test gives up waiting."""


class BareAgent:
    """Writes a transcript file line by line, as the CLI does."""

    def __init__(
        self,
        projects: Path,
        session_id: str | None = None,
        *,
        subagent_of: BareAgent | None = None,
        beside: bool = False,
    ) -> None:
        """A subagent's file stands below its parent's, or `beside` it (CLI 2.0)."""
        self.session_id = session_id or (subagent_of.session_id if subagent_of else str(uuid4()))
        self.agent_id = uuid4().hex[:8] if subagent_of is not None else None
        folder = projects / PROJECT
        self.path = folder / f"{self.session_id}.jsonl"
        if self.agent_id is not None:
            below = folder if beside else folder / self.session_id / "subagents"
            self.path = below / f"agent-{self.agent_id}.jsonl"
        self.lines: list[bytes] = []
        self._parent: str | None = None

    def write(self, *lines: bytes) -> None:
        """Append lines."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(b"".join(line + b"\n" for line in lines))
        self.lines += lines

    def prompt(self, text: str = "Mend the shop.", *, at: datetime | None = None) -> None:
        """Somebody asks for something."""
        self.write(self.line("user", {"role": "user", "content": text}, at))

    def call(self, command: str, answer: str, *, at: datetime | None = None) -> None:
        """It runs a command that fails."""
        call_id = f"toolu_{uuid4().hex[:20]}"
        used = {"type": "tool_use", "id": call_id, "name": "Bash", "input": {"command": command}}
        result = {
            "type": "tool_result",
            "tool_use_id": call_id,
            "content": answer,
            "is_error": True,
        }
        self.write(
            self._says([used], "tool_use", at),
            self.line("user", {"role": "user", "content": [result]}, at),
        )

    def loop(self, times: int = 4, *, at: datetime | None = None) -> None:
        """It runs the same command again and again."""
        for _ in range(times):
            self.call("make build", "make: *** No rule to make target 'build'.  Stop.", at=at)

    def ends_turn(self, text: str = "Done.", *, at: datetime | None = None) -> None:
        """Its last word."""
        self.write(self._says([{"type": "text", "text": text}], "end_turn", at))

    def _says(self, content: list[dict[str, Any]], stop: str, at: datetime | None) -> bytes:
        message = {
            "id": f"msg_{uuid4().hex[:20]}",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": content,
            "stop_reason": stop,
            "usage": {"input_tokens": 10, "output_tokens": 20},
        }
        return self.line("assistant", message, at)

    def line(self, kind: str, message: dict[str, Any], at: datetime | None = None) -> bytes:
        """One line, not written yet."""
        uuid = str(uuid4())
        record = {
            "parentUuid": self._parent,
            "isSidechain": self.agent_id is not None,
            "cwd": "/home/user/shop",
            "sessionId": self.session_id,
            "version": "2.1.330",
            "type": kind,
            "message": message,
            "uuid": uuid,
            "timestamp": (at or datetime.now(UTC)).isoformat(),
        }
        if self.agent_id is not None:
            record["agentId"] = self.agent_id
        self._parent = uuid
        return json.dumps(record).encode()


def observing() -> Policy:
    """The shipped policy that looks and does nothing."""
    return load_policy("observe", detectors=registry.detectors(), actions=registry.actions())


@asynccontextmanager
async def following(
    store: Store,
    *folders: Path,
    ready: bool = True,
    watch: Watch = "auto",
    silent_seconds: float = 1800.0,
    lease_seconds: float = 30.0,
) -> AsyncIterator[Sidecar]:
    """A sidecar, ready unless told otherwise."""
    sidecar = Sidecar(
        store=store,
        folders=folders,
        policy=observing(),
        settings=Settings(lease_seconds=lease_seconds),
        watch=watch,
        silent_seconds=silent_seconds,
    )
    async with sidecar:
        if ready:
            await until(lambda: not sidecar.not_ready())
        yield sidecar


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until something holds."""
    with anyio.fail_after(LONGEST):
        while True:
            found = holds()
            if found if isinstance(found, bool) else await found:
                return
            await anyio.sleep(0.01)


async def stored(store: Store, session_id: str) -> list[bytes]:
    """The lines that the store has of a session."""
    try:
        return [entry.raw async for entry in store.entries(session_id)]
    except Exception:  # noqa: BLE001 - it is not there yet; the caller waits
        return []


async def until_stored(store: Store, *agents: BareAgent) -> None:
    """Wait until the store has all that agents of one session wrote, each line once."""
    wanted = sorted(line for agent in agents for line in agent.lines)

    async def is_there() -> bool:
        return sorted(await stored(store, agents[0].session_id)) == wanted

    await until(is_there)


async def is_marked(store: Store, projects: Path, agent: BareAgent) -> bool:
    """Whether the store knows that its file, the only one, was read to its end. That is
    kept with each beat of the sidecar's."""
    marks = await store.marks(f"{socket.gethostname()}:{projects}")
    return [mark.offset for mark in marks] == [agent.path.stat().st_size]
