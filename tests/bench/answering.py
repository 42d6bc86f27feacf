"""What a hook costs an agent: the round trip to a sidecar, under load.

A real `lucid sidecar` in a process of its own, on SQLite, under the default policy; this process
is twenty agents, each of which writes its transcript and posts its hooks: 200 hooks a second in
all, each with a new line of the transcript to be read and judged before the answer.

- `hook_ms_p50`: milliseconds from a hook's request to its answer, median
- `hook_ms_p99`: the 99th percentile
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any
from uuid import UUID

import aiohttp

from tests.bench.timing import percentile
from tests.bench.workload import SESSION, endless_lines

_AGENTS = 20
_A_SECOND = 200
_SECONDS = 10
_WARM_UP = 400
"""Hooks that are not measured: each agent's session is new at first."""
_TOKEN = "the-token-of-a-benchmark"


class _Agent:
    """Writes a transcript and posts hooks, one after another."""

    def __init__(self, number: int, folder: Path) -> None:
        self.session_id = str(UUID(int=number + 1))
        self.path = folder / "-home-user-app" / f"{self.session_id}.jsonl"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lines = endless_lines(seed=number + 1)

    def next_hook(self) -> dict[str, Any]:
        """Write on until the next moment of which a hook tells; returns its body."""
        with self.path.open("ab") as file:
            for line in self._lines:
                own = line.replace(SESSION.encode(), self.session_id.encode())
                file.write(own + b"\n")
                for hook in self._hooks(json.loads(own)):
                    return hook
        raise AssertionError("the lines are endless")

    def _hooks(self, line: dict[str, Any]) -> Iterator[dict[str, Any]]:
        content = line["message"]["content"]
        blocks = content if isinstance(content, list) else []
        for block in blocks:
            if block["type"] == "tool_use":
                yield self._hook(
                    "PreToolUse", block["id"], tool_name=block["name"], tool_input=block["input"]
                )
            elif block["type"] == "tool_result":
                yield self._hook(
                    "PostToolUse",
                    block["tool_use_id"],
                    tool_name="Bash",
                    tool_input={},
                    tool_response=block["content"],
                )

    def _hook(self, event: str, call_id: str, **more: Any) -> dict[str, Any]:
        return {
            "hook_event_name": event,
            "session_id": self.session_id,
            "transcript_path": str(self.path),
            "cwd": "/home/user/app",
            "permission_mode": "default",
            "tool_use_id": call_id,
            **more,
        }


def measure() -> dict[str, float]:
    """See the module."""
    times = asyncio.run(_measure())
    return {"hook_ms_p50": percentile(times, 50), "hook_ms_p99": percentile(times, 99)}


async def _measure() -> list[float]:
    with tempfile.TemporaryDirectory() as name:
        projects = Path(name) / "projects"
        agents = [_Agent(number, projects) for number in range(_AGENTS)]
        async with (
            _sidecar(projects, Path(name)) as address,
            aiohttp.ClientSession(address) as client,
        ):
            await _load(agents, client, _WARM_UP)
            return await _load(agents, client, _A_SECOND * _SECONDS)


@asynccontextmanager
async def _sidecar(projects: Path, folder: Path) -> AsyncIterator[str]:
    """A sidecar on a port of its own; gives its address once it is ready."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "supervisor.cli", "sidecar", str(projects),
        "--store", str(folder / "bench.db"), "--listen", "127.0.0.1:0",
        env={**os.environ, "LUCID_TOKEN": _TOKEN}, stderr=PIPE,
    )  # fmt: skip
    reading: asyncio.Task[None] | None = None
    try:
        address = await _address(process)
        reading = asyncio.create_task(_read_on(process))
        await _ready(address)
        yield address
    finally:
        process.terminate()
        await process.wait()
        if reading is not None:
            await reading


async def _address(process: Process) -> str:
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if line.startswith(b"listening on "):
            return line.decode().removeprefix("listening on ").strip()
    raise SystemExit(f"the sidecar did not start:\n{said.decode()}")


async def _read_on(process: Process) -> None:
    """Keep its pipe empty, and pass on what it says."""
    assert process.stderr is not None
    async for line in process.stderr:
        sys.stderr.write(line.decode())


async def _ready(address: str) -> None:
    async with aiohttp.ClientSession(address) as client:
        for _ in range(200):
            async with client.get("/readyz") as response:
                said = await response.text()
                if response.status == 200:
                    return
            await asyncio.sleep(0.05)
    raise SystemExit(f"the sidecar is not ready: {said}")


async def _load(agents: list[_Agent], client: aiohttp.ClientSession, count: int) -> list[float]:
    """Post so many hooks at the rate, the agents in turn; returns each one's milliseconds."""
    times: list[float] = []
    began = perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            await asyncio.sleep(max(0.0, began + number / _A_SECOND - perf_counter()))
            hook = agents[number % len(agents)].next_hook()
            tasks.create_task(_post(client, hook, times))
    return times


async def _post(client: aiohttp.ClientSession, hook: dict[str, Any], times: list[float]) -> None:
    body = json.dumps(hook).encode()
    began = perf_counter()
    async with client.post(f"/hooks/{_TOKEN}", data=body) as response:
        said = await response.read()
    times.append((perf_counter() - began) * 1000)
    if response.status != 200:
        raise SystemExit(f"a hook was answered {response.status}: {said.decode()}")
