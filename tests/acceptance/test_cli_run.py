"""`lucid run` in a process of its own: the real SDK and CLI on the scripted model."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.session import SessionState
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel, load_scenario
from tests.terminal import CTRL_C, Terminal, plain

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 60.0


def quick(name: str) -> Scenario:
    """A shipped scenario without its delays."""
    return load_scenario(name).model_copy(update={"delay": 0.0})


def scenario(*replies: dict[str, Any]) -> Scenario:
    return Scenario.model_validate({"about": "A test's.", "replies": replies})


@dataclass
class Ran:
    """A process that ended."""

    code: int
    out: str
    err: str

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Its output, for one run with `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def summary(self) -> dict[str, Any]:
        assert self.messages[-1]["message"] == "LucidSummary"
        return self.messages[-1]


class Shell:
    """Runs `lucid run` in a home, a folder and with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self.work.mkdir()
        self.store = folder / "lucid.db"

    def env(self, model: ScriptedModel | None) -> dict[str, str]:
        """The environment, after the scenario's files were written."""
        if model is not None:
            model.scenario.prepare(self.work)
        given = model.env(self.folder / "home") if model is not None else {}
        own = {"PATH": os.environ["PATH"], "HOME": str(self.folder), "TMPDIR": str(self.folder)}
        return own | given | {"LUCID_STORE": str(self.store)}

    @asynccontextmanager
    async def begun(
        self, model: ScriptedModel | None, *arguments: str, **env: str
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """The process, begun; killed in the end if it still runs."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "supervisor.cli", "run"),
            *arguments,
            cwd=self.work,
            env=self.env(model) | env,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()

    async def run(self, model: ScriptedModel | None, *arguments: str, **env: str) -> Ran:
        async with self.begun(model, *arguments, **env) as process:
            return await ended(process)

    async def session(self) -> SessionRow:
        async with SqliteStore(self.store) as store:
            (row,) = await store.sessions()
            return row


async def ended(process: asyncio.subprocess.Process) -> Ran:
    async with asyncio.timeout(LIMIT_SECONDS):
        out, err = await process.communicate()
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


def parents() -> dict[int, int]:
    """Every process that runs, with its parent."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            state, parent = stat.read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue  # it ended just now
        if state != "Z":
            found[int(stat.parent.name)] = int(parent)
    return found


def descendants(pid: int) -> list[int]:
    """The processes below `pid`, the lowest first."""
    running = parents()

    def below(pid: int) -> list[int]:
        children = [child for child, parent in running.items() if parent == pid]
        return [found for child in children for found in (*below(child), child)]

    return below(pid)


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


Write = Callable[[str], str]


@pytest.fixture
def policy(tmp_path: Path) -> Write:
    """Write a policy; returns the option that names it."""

    def write(text: str) -> str:
        file = tmp_path / "policy.yaml"
        file.write_text(text)
        return f"--policy={file}"

    return write


BYPASS = "--permission-mode=bypassPermissions"

# How it ends.


async def test_an_objective_that_is_reached_ends_with_0(shell: Shell) -> None:
    async with ScriptedModel("hello") as model:
        ran = await shell.run(model, "Say hello.")

    assert (ran.code, ran.err) == (0, "")
    session = await shell.session()
    assert ran.out.splitlines()[:2] == [
        "agent     Hello. There is nothing else to do.",
        "",
    ]
    assert f"lucid show {session.session_id[:8]}" in ran.out
    assert session.state is SessionState.REACHED
    assert session.objective == "Say hello."


async def test_a_turn_limit_ends_with_1_and_json_says_it_all(shell: Shell) -> None:
    async with ScriptedModel(quick("stuck-then-phantom")) as model:
        ran = await shell.run(
            model, model.scenario.objective or "", BYPASS, "--max-turns=6", "--json",
            "--policy=observe",
        )  # fmt: skip

    assert (ran.code, ran.err) == (1, "")
    kinds = {message["message"] for message in ran.messages}
    assert {"SystemMessage", "AssistantMessage", "UserMessage", "ResultMessage"} <= kinds
    assert ran.summary["state"] == "gave_up"
    assert ran.summary["reason"] == "max_turns"
    assert ran.summary["exit_code"] == 1
    assert ran.summary["tool_calls"] == 6
    assert ran.summary["tokens"]["input"] > 1000
    assert ran.summary["verdicts"] == {"loop": 3}
    assert ran.summary["decisions"] == {"observe": 3}
    assert ran.summary["actions"] == []


async def test_a_policy_with_faults_ends_with_2_and_nothing_is_started(
    shell: Shell, fixtures: Path
) -> None:
    bad = fixtures / "policies" / "bad" / "unknown-keys.yaml"
    async with ScriptedModel("hello") as model:
        ran = await shell.run(model, "Say hello.", f"--policy={bad}")

    faults = bad.with_suffix(".txt").read_text().splitlines()
    assert ran.code == 2
    assert len(faults) > 1
    assert len([line for line in ran.err.splitlines() if line.startswith(f"{bad}:")]) == len(faults)
    assert ran.err.splitlines()[-1] == f"lucid: {len(faults)} faults in the policy, nothing done"
    assert (ran.out, model.requests) == ("", [])
    assert not shell.store.exists()


async def test_without_a_way_to_a_model_it_ends_with_2_and_one_sentence(shell: Shell) -> None:
    ran = await shell.run(None, "Say hello.")

    assert (ran.code, ran.out) == (2, "")
    assert len(ran.err.splitlines()) == 1
    assert "ANTHROPIC_API_KEY" in ran.err
    assert "ANTHROPIC_BASE_URL" in ran.err


async def test_a_policy_that_aborts_ends_with_3(shell: Shell, policy: Write) -> None:
    given = policy("version: 1\nrules: [{name: no loops, on: loop, ladder: [abort]}]")
    async with ScriptedModel("stuck-then-phantom") as model:
        ran = await shell.run(model, model.scenario.objective or "", BYPASS, given)

    assert ran.code == 3
    assert "Aborted by the policy: " in ran.out
    assert (await shell.session()).state is SessionState.ABORTED


async def test_a_service_that_refuses_ends_with_4(shell: Shell) -> None:
    refuses = {"name": "refuses", "fault": {"status": 403, "message": "not yours"}}
    async with ScriptedModel(scenario(refuses)) as model:
        ran = await shell.run(model, "Say hello.")

    assert ran.code == 4
    assert "Broken: the infrastructure failed: the model's service failed (403)" in ran.out
    assert (await shell.session()).state is SessionState.BROKEN


@needs_proc
async def test_an_agent_whose_process_dies_ends_with_4_and_a_summary(shell: Shell) -> None:
    policy = shell.folder / "no-second-try.yaml"
    policy.write_text(
        "version: 1\nrules: [{name: loops, on: loop, ladder: [nudge]}]\n", encoding="utf-8"
    )
    async with (
        ScriptedModel(scenario({"name": "hangs", "fault": {"hang": "before"}})) as model,
        shell.begun(model, "Say hello.", "--policy", str(policy)) as process,
    ):
        await model.wait_for(1)
        for agent in descendants(process.pid):
            os.kill(agent, signal.SIGKILL)
        ran = await ended(process)

    assert ran.code == 4
    assert "Broken: the infrastructure failed" in ran.out
    assert "Traceback" not in ran.err
    assert (await shell.session()).state is SessionState.BROKEN


async def test_a_store_that_cannot_be_opened_ends_with_4(shell: Shell) -> None:
    shell.store.write_text("not a database, but long enough to be looked at as one" * 20)
    async with ScriptedModel("hello") as model:
        ran = await shell.run(model, "Say hello.")

    assert (ran.code, ran.out, model.requests) == (4, "", [])
    assert len(ran.err.splitlines()) == 1
    assert "is no SQLite database" in ran.err


# How it is ended.


@needs_proc
@pytest.mark.parametrize(
    ("sent", "code", "said", "left"),
    [
        ("SIGINT", 130, "interrupted", "Left before the agent finished"),
        ("SIGTERM", 75, "SIGTERM: leaving in good order, grace 4 s", "Left in the midst of"),
    ],
)
async def test_a_signal_ends_the_agent_too_and_metrics_are_served_until_then(
    shell: Shell, sent: str, code: int, said: str, left: str
) -> None:
    looks = {"name": "looks", "times": 1, "calls": [{"tool": "Bash", "input": {"command": "ls"}}]}
    hangs = {"name": "hangs", "fault": {"hang": "before"}}
    async with (
        ScriptedModel(scenario(looks, hangs)) as model,
        shell.begun(model, "Look.", BYPASS, "--metrics-port=0", "--grace=4") as process,
    ):
        assert process.stderr is not None
        at = (await process.stderr.readline()).decode().split()[-1]
        await model.wait_for(2)
        metrics = await fetched(at, 'lucid_entries_total{kind="prompt"} 1.0')
        agents = descendants(process.pid)
        process.send_signal(signal.Signals[sent])
        ran = await ended(process)

    assert ran.code == code
    assert ran.err.splitlines() == [f"lucid: {said}"]
    assert left in ran.out
    assert agents
    assert not parents().keys() & set(agents)
    session = await shell.session()
    assert session.state is (SessionState.CLOSED if code == 130 else SessionState.RUNNING)
    assert session.lease is None
    assert 'lucid_sessions{state="running"} 1.0' in metrics


@needs_proc
async def test_ctrl_c_in_a_terminal_ends_the_agent_and_gives_the_cursor_back(
    shell: Shell,
) -> None:
    looks = {"name": "looks", "times": 1, "calls": [{"tool": "Bash", "input": {"command": "ls"}}]}
    hangs = {"name": "hangs", "fault": {"hang": "before"}}
    async with ScriptedModel(scenario(looks, hangs)) as model:
        terminal = Terminal(
            *("run", "Look.", BYPASS), columns=70, env=shell.env(model), cwd=shell.work
        )
        reading = asyncio.create_task(asyncio.to_thread(terminal.read, "1 tool call"))
        await model.wait_for(2)
        assert "1 tool call" in plain(await reading)
        agents = descendants(terminal.process.pid)
        terminal.press(CTRL_C)
        shown = plain(await asyncio.to_thread(terminal.read))

    assert terminal.process.returncode == 130
    assert "  call     Bash  ls\n" in shown
    told = shown.rpartition("\x1b[?25h")[2]  # the cursor is shown again
    assert "Left before the agent finished" in told
    assert told.endswith("lucid: interrupted\n")
    assert agents
    assert not parents().keys() & set(agents)
    assert (await shell.session()).state is SessionState.CLOSED


async def fetched(url: str, line: str) -> str:
    """A page, once this stands in it: the transcript comes a moment behind the agent."""
    async with asyncio.timeout(10):
        while line not in (page := await asyncio.to_thread(fetch, url)):  # noqa: ASYNC110 - of another process
            await asyncio.sleep(0.02)
    return page


def fetch(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as response:
        body: bytes = response.read()
    return body.decode()


async def test_a_reader_that_leaves_ends_it_without_a_word(shell: Shell) -> None:
    async with (
        ScriptedModel("stuck-then-phantom") as model,
        shell.begun(model, model.scenario.objective or "", BYPASS, "--policy=observe") as process,
    ):
        assert process.stdout is not None
        assert process.stderr is not None
        await process.stdout.readline()
        process.stdout._transport.close()  # type: ignore[attr-defined] # as `head -1` does
        async with asyncio.timeout(LIMIT_SECONDS):
            said, code = await process.stderr.read(), await process.wait()

    assert (code, said) == (141, b"")
    assert (await shell.session()).state is SessionState.CLOSED


async def test_an_overloaded_service_is_said_and_outlasted(shell: Shell) -> None:
    busy = {"name": "is busy", "times": 1, "fault": {"status": 529}}
    async with ScriptedModel(scenario(busy, {"name": "answers", "text": "Here."})) as model:
        ran = await shell.run(model, "Say hello.")

    assert ran.code == 0
    assert ran.out.splitlines()[:2] == [
        "api       529  try 1 of 10 failed, trying again",
        "agent     Here.",
    ]


# What reaches the agent.


async def test_options_reach_the_agent(shell: Shell, fixtures: Path) -> None:
    mcp = shell.folder / "mcp.json"
    server = {"command": sys.executable, "args": [str(fixtures / "cli" / "echo_server.py")]}
    mcp.write_text(json.dumps({"mcpServers": {"echo": server}}))
    writes = {"tool": "Write", "input": {"file_path": "here.txt", "content": "here"}}
    says = {"tool": "mcp__echo__say", "input": {"text": "hello"}}
    replies = (
        {"name": "writes", "when": {"calls": 0}, "calls": [writes]},
        {"name": "says", "when": {"calls": 1}, "calls": [says]},
        {"name": "ends", "text": "Done."},
    )
    (shell.work / "deeper").mkdir()
    async with ScriptedModel(scenario(*replies)) as model:
        ran = await shell.run(
            model, "Write a file.",
            *("--model", "claude-haiku-4-5", "--system-prompt", "You are terse."),
            *("--cwd", "deeper", "--allow", "Write", "--allow", "mcp__echo"),
            *("--mcp-config", "../mcp.json"),
        )  # fmt: skip

    assert (ran.code, ran.err) == (0, "")
    body = model.requests[0].body
    assert body["model"].startswith("claude-haiku-4-5")
    assert "You are terse." in json.dumps(body["system"])
    assert (shell.work / "deeper" / "here.txt").read_text() == "here"
    assert "result    ok  echo: hello" in ran.out


async def test_by_default_the_prompt_is_claude_codes_and_what_needs_asking_is_denied(
    shell: Shell,
) -> None:
    writes = {"tool": "Write", "input": {"file_path": "here.txt", "content": "here"}}
    replies = (
        {"name": "writes", "when": {"calls": 0}, "calls": [writes]},
        {"name": "ends", "text": "Done."},
    )
    async with ScriptedModel(scenario(*replies)) as model:
        ran = await shell.run(model, "Write a file.")

    assert ran.code == 0
    assert "result    error" in ran.out
    assert not (shell.work / "here.txt").exists()
    assert len(json.dumps(model.requests[0].body["system"])) > 2000


async def test_it_waits_for_subagents_in_the_background_and_says_whose_words_are_whose(
    shell: Shell,
) -> None:
    task = {"description": "Look", "prompt": "Look.", "subagent_type": "general-purpose"}
    replies = (
        {"name": "looks", "when": {"agent": "subagent"}, "text": "All is well.", "delay": 1},
        {"name": "sends", "when": {"calls": 0}, "calls": [{"tool": "Agent", "input": task}]},
        {"name": "ends", "when": {"says": "All is well"}, "text": "It is done."},
        {"name": "waits", "text": "I will wait."},
    )
    async with ScriptedModel(scenario(*replies)) as model:
        ran = await shell.run(model, "Have somebody look.", BYPASS)

    said = [line for line in ran.out.splitlines() if line.startswith("agent ")]
    assert ran.code == 0
    assert said[0] == "agent     I will wait."
    assert said[1].startswith("agent     [")
    assert said[1].endswith("]  All is well.")
    assert said[2] == "agent     It is done."


async def test_what_the_agent_reads_cannot_steer_the_terminal(shell: Shell) -> None:
    (shell.work / "evil.txt").write_text("\x1b[2J\x1b]0;owned\x07\u202efine\x9b31m")
    reads = {"tool": "Bash", "input": {"command": "cat evil.txt; exit 3"}}
    replies = (
        {"name": "reads", "when": {"calls": 0}, "calls": [reads]},
        {"name": "ends", "text": "Done.\x1b[31m \x07"},
    )
    async with ScriptedModel(scenario(*replies)) as model:
        ran = await shell.run(model, "Read it.", BYPASS)

    assert "owned fine 31m" in ran.out
    assert not [char for char in ran.out + ran.err if char != "\n" and not char.isprintable()]
