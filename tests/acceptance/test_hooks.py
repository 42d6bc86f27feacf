"""A real `claude` with nothing but the settings snippet, and a `lucid sidecar` beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk._internal.transport import subprocess_cli

from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.sidecar.agent_settings import change
from supervisor.sidecar.hook import read_hook
from supervisor.sidecar.snippet import hooks_for
from supervisor.store.connect import store_at
from supervisor.store.interface import SessionRow, Store
from supervisor.testing import Scenario, ScriptedModel

pytestmark = pytest.mark.anyio

CLI = Path(subprocess_cli.__file__).parents[2] / "_bundled" / "claude"
TOKEN = "sesame-sesame-sesame-sesame-sesame"
LIMIT_SECONDS = 60.0


def bash(command: str) -> dict[str, Any]:
    return {"tool": "Bash", "input": {"command": command, "description": "Look"}}


def invents(tool: str) -> dict[str, Any]:
    return {"tool": tool, "input": {"deployment": 12}}


STUCK_THEN_PHANTOM = Scenario.model_validate(
    {
        "about": "Repeats a look until told, then invents tools until told what there is.",
        "objective": "What became of deployment 12? Write it to result.txt.",
        "delay": 0.2,
        "files": {
            "state.txt": "deployment 12: pending\n",
            "deploy.log": "[09:02:10] deployment 12 rolled back\n",
        },
        "replies": [
            {
                "name": "finishes",
                "when": {"calls": {"tool": "Bash", "input": "result.txt"}},
                "text": "Deployment 12 was rolled back; result.txt says so.",
            },
            {
                "name": "writes it down",
                "when": {"results": {"tool": "Bash", "text": "rolled back"}},
                "text": "It was rolled back.",
                "calls": [bash("echo rolled back > result.txt")],
            },
            {
                "name": "reads the log",
                "when": {"results": {"error": True, "text": "<lucid>.*(Read|Get|Fetch)Deployment"}},
                "text": "There is no such tool. I will read the log from the shell.",
                "calls": [bash("cat deploy.log")],
            },
            {
                "name": "invents a third tool",
                "when": {"last": "No such tool available: GetDeployment"},
                "text": "Perhaps it is called otherwise.",
                "calls": [invents("FetchDeployment")],
            },
            {
                "name": "looks around",
                "when": {"last": "No such tool available: FetchDeployment"},
                "text": "I will see what is there, then ask the deployment service again.",
                "calls": [bash("ls -a")],
            },
            {
                "name": "invents another tool",
                "when": {"last": "No such tool available: ReadDeployment"},
                "text": "Another tool may do it.",
                "calls": [invents("GetDeployment")],
            },
            {
                "name": "invents a tool",
                "when": {"told": "cat state\\.txt"},
                "text": "Looking again will not help: I will ask the deployment service.",
                "calls": [invents("ReadDeployment")],
            },
            {
                "name": "looks at the state",
                "text": "I will look at the state.",
                "calls": [bash("cat state.txt")],
            },
        ],
    }
)

POLICY = """
version: 1
mode: act
rules:
  - name: break loops
    on: loop
    min_confidence: 0.8
    ladder: [nudge, rollback, block_tool]
  - name: stop invented tools
    on: hallucinated_tool
    min_confidence: 0.8
    ladder: [rollback, correct]
"""


@dataclass
class Ended:
    """A `claude` that ended."""

    code: int
    result: str
    seconds: float


class Host:
    """A home, a folder to work in, a port and a store."""

    def __init__(self, folder: Path, model: ScriptedModel, policy: str) -> None:
        self.folder, self.work = folder, folder / "work"
        self.store = folder / "lucid.db"
        self.policy = folder / "policy.yaml"
        self.policy.write_text(policy)
        self.token = folder / "token"
        self.token.write_text(TOKEN)
        self.projects = folder / "home" / ".claude" / "projects"
        self.work.mkdir()
        model.scenario.prepare(self.work)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._model = model

    def install(self, **changes: Any) -> None:
        url = f"http://127.0.0.1:{self.port}/hooks"
        hooks = hooks_for(url, **{"token": TOKEN, **changes})
        change(self.work / ".claude" / "settings.local.json", hooks)

    @asynccontextmanager
    async def sidecar(self) -> AsyncIterator[asyncio.subprocess.Process]:
        """A `lucid sidecar` that answers; killed at the end, if it is there still."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "supervisor.cli", "sidecar", str(self.projects)),
            *("--store", str(self.store), "--policy", str(self.policy)),
            *("--listen", f"127.0.0.1:{self.port}", "--token-file", str(self.token)),
            env={**os.environ, "LUCID_LEASE_SECONDS": "1"},
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                assert process.stderr is not None
                while b"listening on" not in (line := await process.stderr.readline()):
                    assert line, "the sidecar ended"
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.communicate()

    async def claude(self, **env: str) -> Ended:
        """Run an agent on the scenario's objective to its end, as anybody would."""
        began = asyncio.get_running_loop().time()
        process = await asyncio.create_subprocess_exec(
            *(str(CLI), "-p", self._model.scenario.objective or ""),
            *("--model", "claude-sonnet-5", "--permission-mode", "bypassPermissions"),
            *("--output-format", "json", "--max-turns", "60"),
            cwd=self.work,
            env={**os.environ, **self._env, **env},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                out, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        ended = asyncio.get_running_loop().time() - began
        result = json.loads(out).get("result") if out else None
        return Ended(process.returncode or 0, str(result), ended)

    @property
    def _env(self) -> dict[str, str]:
        return self._model.env(self.folder / "home")

    async def lucid(self, *arguments: str) -> tuple[int | None, str, str]:
        """Run a command that needs the store."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "supervisor.cli", *arguments, "--store", str(self.store)),
            env={**os.environ, **self._env},
            cwd=self.work,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(LIMIT_SECONDS):
                out, err = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
        return process.returncode, out.decode(), err.decode()

    async def metrics(self) -> str:
        """What the sidecar shows of itself."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        with closing(writer):
            writer.write(
                f"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                f"Authorization: Bearer {TOKEN}\r\n\r\n".encode()
            )
            return (await reader.read()).decode()

    async def only_session(self, store: Store) -> SessionRow:
        async with asyncio.timeout(LIMIT_SECONDS):
            while True:
                rows = await store.sessions(10)
                if rows and rows[0].state is not SessionState.RUNNING:
                    assert len(rows) == 1
                    return rows[0]
                await asyncio.sleep(0.05)


@pytest.fixture
async def host(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Host]:
    scenario, policy = request.param
    async with ScriptedModel(scenario) as model:
        yield Host(tmp_path, model, policy)


async def acts(store: Store, session: SessionRow) -> list[tuple[str, str]]:
    """What was done about which failure, and what came of it."""
    decisions = await store.decisions(session.session_id)
    done = [one for one in decisions if one.choice is Choice.ACT]
    outcomes = {one.decision_id: one.status for one in await store.outcomes(session.session_id)}
    return [(one.action or "", outcomes[one.id]) for one in done]


@pytest.mark.parametrize("host", [(STUCK_THEN_PHANTOM, POLICY)], indirect=True)
async def test_an_agent_is_brought_back_and_nothing_is_lost_though_the_sidecar_is_killed(
    host: Host,
) -> None:
    """It loops, and its sidecar is killed as it is told so; it goes on looping until another
    sidecar is there, then invents tools."""
    host.install()
    async with store_at(str(host.store)) as store:
        async with host.sidecar() as first:
            agent = asyncio.create_task(host.claude())
            await until(lambda: has_acted(store, "nudge"))
            first.kill()
            await first.wait()
        async with host.sidecar():
            ended = await agent
            session = await host.only_session(store)

        assert ended.result == "Deployment 12 was rolled back; result.txt says so."
        assert (host.work / "result.txt").read_text() == "rolled back\n"
        assert (session.state, session.state_reason) == (SessionState.REACHED, "")
        (transcript,) = host.projects.glob("*/*.jsonl")
        kept = [entry.raw async for entry in store.entries(session.session_id)]
        assert kept == transcript.read_bytes().splitlines()
        decided = [one.id for one in await store.decisions(session.session_id)]
        assert len(decided) == len(set(decided))
        assert ("correct", "cleared") in await acts(store, session)


async def has_acted(store: Store, action: str) -> bool:
    for row in await store.sessions(5):
        if any(one.action == action for one in await store.decisions(row.session_id)):
            return True
    return False


async def until(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(LIMIT_SECONDS):
        while True:
            if await holds():
                return
            await asyncio.sleep(0.02)


CLAIMS_FIRST = Scenario.model_validate(
    {
        "about": "Says that it is done before it is, and does it when it is sent back.",
        "objective": "Make the file made.txt.",
        "replies": [
            {"name": "says so", "when": {"results": {"text": "made it"}}, "text": "It is made."},
            {
                "name": "makes it",
                "when": {"says": "not there yet"},
                "calls": [bash("touch made.txt; echo made it")],
            },
            {"name": "waits", "when": {"says": "being checked"}, "text": "I wait."},
            {"name": "claims it", "text": "It is made already."},
        ],
    }
)

CHECKED = """
version: 1
mode: act
rules:
  - name: done means done
    on: stop
    ladder:
      - verify:
          run:
            - sh
            - -c
            - "echo run >> ../runs; sleep 2; test -e made.txt || { echo not there yet; false; }"
"""


@pytest.mark.parametrize("host", [(CLAIMS_FIRST, CHECKED)], indirect=True)
async def test_a_stop_is_verified_though_the_check_takes_longer_than_the_hook(host: Host) -> None:
    host.install(stop_seconds=1)
    host.projects.mkdir(parents=True)
    async with host.sidecar(), store_at(str(host.store)) as store:
        ended = await host.claude()
        session = await host.only_session(store)

        assert ended.result == "It is made."
        assert session.state is SessionState.REACHED
        # Its first prompt was posted before its transcript was there.
        shown = await host.metrics()
        assert 'lucid_hook_requests_total{event="UserPromptSubmit",result="quiet"} 1.0' in shown
        assert 'result="unknown_session"' not in shown
        assert (host.folder / "runs").read_text() == "run\nrun\n"
        assert await acts(store, session) == [("verify", "failed"), ("verify", "cleared")]


ONE_CALL = Scenario.model_validate(
    {
        "about": "Makes a call and ends.",
        "objective": "Say what is there.",
        "replies": [
            {"name": "ends", "when": {"calls": {"tool": "Bash"}}, "text": "Nothing is there."},
            {"name": "looks", "calls": [bash("ls")]},
        ],
    }
)


@pytest.mark.parametrize("host", [(ONE_CALL, POLICY)], indirect=True)
async def test_a_sidecar_that_is_down_costs_an_agent_nothing(host: Host) -> None:
    host.install(seconds=30, stop_seconds=30)
    ended = await host.claude()

    assert (ended.code, ended.result) == (0, "Nothing is there.")
    assert ended.seconds < 20, "no hook was waited for"


@pytest.mark.parametrize("host", [(ONE_CALL, POLICY)], indirect=True)
async def test_a_sidecar_that_hangs_holds_an_agent_for_the_time_out_at_each_hook(
    host: Host,
) -> None:
    host.install(seconds=1, stop_seconds=1)
    host.projects.mkdir(parents=True)
    async with host.sidecar() as sidecar:
        sidecar.send_signal(signal.SIGSTOP)
        ended = await host.claude()

    assert (ended.code, ended.result) == (0, "Nothing is there.")
    # The prompt, the call's two, the stop and the session's end: a second each.
    assert ended.seconds < 20


@pytest.mark.parametrize("host", [(ONE_CALL, POLICY)], indirect=True)
async def test_what_the_cli_posts_is_what_the_page_says(host: Host) -> None:
    """A canary for other versions of the CLI: which events come, under which names."""
    posted: list[dict[str, Any]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                assert f"authorization: bearer {TOKEN}" in head
                assert "lucid-timeout: " in head
                length = int(head.split("content-length: ")[1].split("\r\n")[0])
                posted.append(json.loads(await reader.readexactly(length)))
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")

    host.install(token=None, token_env="SESAME")
    settings = host.work / ".claude" / "settings.local.json"
    asked = json.loads(settings.read_text())
    asked["hooks"]["SessionStart"] = asked["hooks"]["Stop"]
    settings.write_text(json.dumps(asked))
    async with await asyncio.start_server(take, "127.0.0.1", host.port):
        await host.claude(SESAME=TOKEN)

    events = ["UserPromptSubmit", "PreToolUse", "PostToolUse", "Stop", "SessionEnd"]
    assert [one["hook_event_name"] for one in posted] == events, "and no SessionStart"
    assert len({one["prompt_id"] for one in posted}) == 1
    read = [read_hook(json.dumps(one).encode()) for one in posted]
    assert len({(one.session_id, one.transcript_path, one.cwd) for one in read}) == 1
    assert Path(read[0].transcript_path).is_relative_to(host.projects)
    assert read[1].tool_use_id == read[2].tool_use_id != ""
    assert read[3].last_assistant_message == "Nothing is there."


LONG_CALL = Scenario.model_validate(
    {
        "about": "Is in a long call when it is adopted; looks what came of it, then ends.",
        "objective": "Do the work.",
        "replies": [
            {"name": "ends", "when": {"results": {"text": "once"}}, "text": "It was done."},
            {
                "name": "verifies",
                "when": {"told": "verify what it did"},
                "calls": [bash("cat log")],
            },
            {"name": "works", "calls": [bash("echo once >> log; sleep 60")]},
        ],
    }
)


@pytest.mark.parametrize("host", [(LONG_CALL, POLICY)], indirect=True)
async def test_an_adopted_session_goes_on_under_the_runner(host: Host) -> None:
    host.install()
    host.projects.mkdir(parents=True)
    async with host.sidecar(), store_at(str(host.store)) as store:
        bare = asyncio.create_task(host.claude())
        log = host.work / "log"
        await until(lambda: asyncio.to_thread(log.exists))
        (row,) = await store.sessions(5)
        code, out, err = await host.lucid("adopt", row.session_id, "--yes")

        assert (code, "It was done." in out) == (0, True), err
        assert "stopped process" in err
        session = await store.session(row.session_id)
        assert session.state is SessionState.REACHED
        assert log.read_text() == "once\n"
        assert (await bare).result == "None", "it was stopped in the midst of its turn"
        lines = [entry.raw async for entry in store.entries(row.session_id)]
        stamped = [line for line in lines if b'"timestamp"' in line]  # others may be repeated
        assert len(stamped) == len(set(stamped))
