"""`lucid submit`, `lucid worker`, `lucid resume` in processes of their own: sessions that
outlive whoever runs them. The real SDK and CLI on the scripted model."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.store.connect import store_at
from supervisor.store.interface import SessionRow
from supervisor.testing import Scenario, ScriptedModel
from tests.postgres import PostgresServer, postgres_dsn, postgres_server

__all__ = ["postgres_dsn", "postgres_server"]

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 60.0
LEASE_SECONDS = 2.0


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command}}


def scenario(*replies: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"about": "A test's.", "replies": replies})


ONE_STEP = scenario(
    {"name": "works", "when": {"calls": 0}, "calls": [bash("echo done >> log")]},
    {"name": "ends", "text": "It is done."},
)

LONG_STEP = scenario(
    {
        "name": "verifies",
        "when": {"told": "verify what it did", "lacks": "once$"},
        "calls": [bash("cat log")],
    },
    {"name": "works", "when": {"calls": 0}, "calls": [bash("echo once >> log; sleep 60")]},
    {"name": "ends", "text": "It is done."},
)
"""A call that has done its work and does not end; whoever goes on looks first."""


def step(number: int) -> dict[str, Any]:
    """Is taken until its result is seen: a call that was not begun is made again."""
    command = f"echo {number} >> log; echo step-{number}; sleep 1"
    undone = {"text": f"^step-{number}", "at_most": 0}
    return {"name": f"step {number}", "when": {"results": [undone]}, "calls": [bash(command)]}


WAITS_BRIEFLY = """
version: 1
rules:
  - name: ride out interruptions
    on: interruption
    ladder:
      - resume: {first_wait: 2s, longest_wait: 2s}
"""

STEPS = scenario(step(1), step(2), step(3), {"name": "ends", "text": "It is done."})


@dataclass
class Ran:
    """A process that ended."""

    code: int
    out: str
    err: str


class Host:
    """A home, a working folder and a store; runs `lucid` there."""

    def __init__(self, folder: Path, store: str, model: ScriptedModel) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.store = store
        self._model = model

    @property
    def log(self) -> list[str]:
        """What agents have written."""
        file = self.work / "log"
        return file.read_text().split() if file.exists() else []

    def env(self, **more: str) -> dict[str, str]:
        own = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "TMPDIR": str(self.folder),
            "LUCID_STORE": self.store,
            "LUCID_LEASE_SECONDS": str(LEASE_SECONDS),
        }
        return own | self._model.env(self.folder / "home") | more

    @asynccontextmanager
    async def begun(
        self, *arguments: str, cwd: Path | None = None, **env: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A process, begun; killed in the end if it still runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "supervisor.cli", *arguments),
            cwd=cwd or self.work,
            env=self.env(**env),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def run(self, *arguments: str, cwd: Path | None = None, **env: str) -> Ran:
        async with self.begun(*arguments, cwd=cwd, **env) as process:
            return await ended(process)

    async def submit(self, objective: str = "Do it.", *more: str) -> str:
        ran = await self.run("submit", objective, "--permission-mode=bypassPermissions", *more)
        assert (ran.code, ran.err) == (0, "")
        return ran.out.strip()

    async def sessions(self) -> list[SessionRow]:
        async with store_at(self.store) as store:
            return await store.sessions()

    async def session(self) -> SessionRow:
        (row,) = await self.sessions()
        return row

    async def until(self, state: SessionState) -> SessionRow:
        """Wait until the one session is in this state."""
        async with asyncio.timeout(LIMIT_SECONDS), store_at(self.store) as store:
            while (rows := await store.sessions())[0].state is not state:  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
            return rows[0]

    async def said(self, process: asyncio.subprocess.Process, what: str) -> None:
        """Wait until a process has logged this."""
        assert process.stderr is not None
        async with asyncio.timeout(LIMIT_SECONDS):
            while what not in (line := (await process.stderr.readline()).decode()):
                assert line, f"{what!r} was not said"

    async def written(self, lines: int) -> None:
        """Wait until agents have written so many lines."""
        async with asyncio.timeout(LIMIT_SECONDS):
            while len(self.log) < lines:  # noqa: ASYNC110 - another process writes them
                await asyncio.sleep(0.02)


async def ended(process: asyncio.subprocess.Process) -> Ran:
    async with asyncio.timeout(LIMIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


@pytest.fixture(params=["sqlite"])
def location(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where the store is."""
    if request.param == "sqlite":
        return str(tmp_path / "lucid.db")
    dsn: str = request.getfixturevalue("postgres_dsn")
    return dsn


on_either = pytest.mark.parametrize("location", ["sqlite", "postgres"], indirect=True)
"""For what a file and a queue do in different ways; the chaos drains and kills on both."""


@asynccontextmanager
async def hosted(folder: Path, store: str, played: Scenario) -> AsyncIterator[Host]:
    async with ScriptedModel(played) as model:
        yield Host(folder, store, model)


@on_either
async def test_submitted_sessions_are_run_to_their_ends_some_at_once(
    tmp_path: Path, location: str
) -> None:
    async with hosted(tmp_path, location, ONE_STEP) as host:
        submitted = {await host.submit(f"Do {number}.") for number in range(3)}
        queued = await host.sessions()
        ran = await host.run("worker", "--until-idle", "--concurrency=2")
        rows = await host.sessions()

    assert ran.code == 0
    assert "2 sessions at once, grace 25 s" in ran.err
    assert {row.state for row in queued} == {SessionState.QUEUED}
    assert {row.session_id for row in rows} == submitted
    assert {row.state for row in rows} == {SessionState.REACHED}
    assert {row.objective for row in rows} == {"Do 0.", "Do 1.", "Do 2."}
    assert host.log == ["done"] * 3


@on_either
async def test_a_killed_workers_session_goes_on_elsewhere_within_a_lease_time(
    tmp_path: Path, location: str
) -> None:
    async with (
        hosted(tmp_path, location, LONG_STEP) as host,
        host.begun("worker") as first,
    ):
        session_id = await host.submit()
        await host.written(1)
        async with host.begun("worker") as second:
            await host.said(second, "worker started")
            first.kill()
            killed = time.monotonic()
            await first.communicate()
            await host.said(second, f"session {session_id} taken: running")
            took = time.monotonic() - killed
            await host.until(SessionState.REACHED)
            second.terminate()
            ran = await ended(second)

    assert ran.code == 0
    assert host.log == ["once"]
    assert took < LEASE_SECONDS + 5  # two looks, a second apart, and a machine that is busy


async def test_a_drained_worker_ends_resumable_and_another_finishes(
    tmp_path: Path, location: str
) -> None:
    async with hosted(tmp_path, location, STEPS) as host:
        await host.submit()
        async with host.begun("worker", "--grace=10") as first:
            await host.written(1)
            first.terminate()
            drained = await ended(first)
        left = await host.session()
        written = host.log
        finished = await host.run("worker", "--until-idle")
        row = await host.session()

    assert drained.code == 75
    assert "SIGTERM: leaving in good order, grace 10 s" in drained.err
    assert (left.state, left.lease, written) == (SessionState.RUNNING, None, ["1"])
    assert left.state_reason.startswith("drained")
    assert finished.code == 0, finished.err
    assert row.state is SessionState.REACHED, finished.err
    assert host.log == ["1", "2", "3"]


async def test_a_second_signal_hurries(tmp_path: Path, location: str) -> None:
    async with hosted(tmp_path, location, LONG_STEP) as host:
        await host.submit()
        async with host.begun("worker", "--grace=50") as first:
            await host.written(1)
            begun = time.monotonic()
            first.send_signal(signal.SIGINT)
            first.send_signal(signal.SIGTERM)
            drained = await ended(first)
            took = time.monotonic() - begun
        finished = await host.run("worker", "--until-idle")

    assert drained.code == 75
    assert took < 15
    assert (finished.code, host.log) == (0, ["once"])


@on_either
async def test_workers_never_run_one_session_twice(tmp_path: Path, location: str) -> None:
    async with hosted(tmp_path, location, ONE_STEP) as host:
        submitted = [await host.submit(f"Do {number}.") for number in range(3)]
        async with AsyncExitStack() as stack:
            workers = [
                await stack.enter_async_context(host.begun("worker", "--until-idle"))
                for _ in range(2)
            ]
            codes = {(await ended(worker)).code for worker in workers}
        leases = await _leases(host, submitted)

    assert codes == {0}
    assert [lease.epoch for lease in leases] == [1] * 3
    assert host.log == ["done"] * 3


async def _leases(host: Host, session_ids: list[str]) -> list[Lease]:
    async with store_at(host.store) as store:
        leases = [await store.lease(session_id) for session_id in session_ids]
    return [lease for lease in leases if lease is not None]


@pytest.mark.parametrize("location", ["postgres"], indirect=True)
async def test_the_highest_priority_goes_first(tmp_path: Path, location: str) -> None:
    writes = [
        {
            "name": word,
            "when": {"told": f"Write {word}", "calls": 0},
            "calls": [bash(f"echo {word} >> log")],
        }
        for word in ("urgent", "whenever")
    ]
    ends = {"name": "ends", "text": "It is done."}
    async with hosted(tmp_path, location, scenario(*writes, ends)) as host:
        await host.submit("Write whenever", "--priority=-1")
        await host.submit("Write urgent", "--priority=7")
        await host.run("worker", "--until-idle", "--concurrency=1")

    assert host.log == ["urgent", "whenever"]


# `lucid run` and `lucid resume`


async def test_a_run_that_is_told_to_stop_is_resumed_on_another_host(
    tmp_path: Path, location: str
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    async with hosted(tmp_path, location, STEPS) as host:
        async with host.begun("run", "Do it.", "--permission-mode=bypassPermissions") as process:
            await host.written(1)
            process.terminate()
            stopped = await ended(process)
        row = await host.session()
        host.work.rename(tmp_path / "gone")
        another = host._model.env(tmp_path / "another-home")
        resumed = await host.run("resume", row.session_id[:8], cwd=elsewhere, **another)
        again = await host.run("resume", row.session_id, cwd=elsewhere, **another)

    assert stopped.code == 75
    assert f"lucid resume {row.session_id[:8]}" in stopped.out
    assert resumed.code == 0, resumed.err
    assert "Reached" in resumed.out
    assert f"its folder {host.work} is not on this host: going on in {elsewhere}" in resumed.err
    assert (tmp_path / "gone" / "log").read_text().split() == ["1"]
    assert (elsewhere / "log").read_text().split() == ["2", "3"]
    assert (again.code, again.out) == (0, "It is done.\n")


async def test_a_session_that_runs_elsewhere_is_not_resumed(tmp_path: Path) -> None:
    async with (
        hosted(tmp_path, str(tmp_path / "lucid.db"), LONG_STEP) as host,
        host.begun("run", "Do it.", "--permission-mode=bypassPermissions") as process,
    ):
        await host.written(1)
        row = await host.session()
        refused = await host.run("resume", row.session_id)

    assert (refused.code, refused.out) == (5, "")
    assert f"/{process.pid}/" in refused.err
    assert "until" in refused.err


async def test_a_run_that_a_person_interrupted_goes_on_with_a_persons_word(tmp_path: Path) -> None:
    hears = scenario(
        {"name": "waits", "when": {"calls": 0}, "calls": [bash("echo once >> log; sleep 60")]},
        {"name": "ends", "when": {"told": "Never mind the log"}, "text": "As you say."},
        {"name": "is lost", "text": "What now?"},
    )
    async with hosted(tmp_path, str(tmp_path / "lucid.db"), hears) as host:
        async with host.begun("run", "Do it.", "--permission-mode=bypassPermissions") as process:
            await host.written(1)
            process.send_signal(signal.SIGINT)
            interrupted = await ended(process)
        row = await host.session()
        asked = await host.run("resume", row.session_id)
        told = await host.run("resume", row.session_id, "--say", "Never mind the log.")

    assert interrupted.code == 130
    assert asked.code == 2
    assert f"lucid resume {row.session_id[:8]} --say" in asked.out
    assert host.log == ["once"], told.out + told.err
    assert "As you say." in told.out


async def test_a_session_that_waits_for_the_service_can_be_drained_too(
    tmp_path: Path, location: str
) -> None:
    away = {"name": "is away", "times": 2, "fault": {"status": 503}}
    once = {"CLAUDE_CODE_MAX_RETRIES": "0", "CLAUDE_CODE_RETRY_WATCHDOG": ""}
    policy = tmp_path / "waits.yaml"
    policy.write_text(WAITS_BRIEFLY)
    async with hosted(tmp_path, location, scenario(away, *ONE_STEP.replies)) as host:
        await host.submit("Do it.", f"--policy={policy}")
        drained = []
        for number in (1, 2):
            async with host.begun("worker", "--grace=10", **once) as worker:
                await host._model.wait_for(number)
                await asyncio.sleep(0.5)  # it takes the failure in, and waits
                worker.terminate()
                drained.append(await ended(worker))
                assert (await host.session()).state is SessionState.RUNNING, drained[-1].err
        finished = await host.run("worker", "--until-idle", **once)
        row = await host.session()

    assert [ran.code for ran in drained] == [75, 75]
    assert row.state is SessionState.REACHED, finished.err
    assert host.log == ["done"]


async def test_a_database_that_restarts_stops_no_worker(
    tmp_path: Path, postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    async with hosted(tmp_path, postgres_dsn, STEPS) as host:
        await host.submit()
        async with host.begun("worker", "--grace=10") as worker:
            await host.written(1)
            postgres_server.restart(signal.SIGQUIT)
            await host.until(SessionState.REACHED)
            another = await host.submit()
            async with asyncio.timeout(LIMIT_SECONDS), store_at(postgres_dsn) as store:
                while (await store.session(another)).state is not SessionState.REACHED:  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.05)
            worker.terminate()
            ran = await ended(worker)

    assert (ran.code, host.log) == (0, ["1", "2", "3"] * 2)
