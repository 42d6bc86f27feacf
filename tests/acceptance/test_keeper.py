"""A kept agent, the real SDK and CLI: like any other, but it dies with its worker."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ProcessError,
    ResultMessage,
    query,
)

from supervisor.runtime.keeper import agent_process, kept, kill_tree
from supervisor.runtime.keeper_process import below, processes
from supervisor.testing import Scenario, ScriptedModel

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

Options = Callable[..., ClaudeAgentOptions]

WORKER = """
import asyncio, json, sys
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient
from supervisor.runtime.keeper import kept

async def work():
    async with ClaudeSDKClient(kept(ClaudeAgentOptions(**json.loads(sys.argv[1])))) as client:
        await client.query("Go.")
        async for message in client.receive_response():
            pass

asyncio.run(work())
"""

BACKGROUND = {"command": "sleep 60", "description": "Wait", "run_in_background": True}
DETACHED = "setsid sh -c 'sleep 60; echo late > late.txt' > /dev/null 2>&1 &"
FOREGROUND = {
    "command": f"{DETACHED} touch running; sleep 60; echo late > late.txt",
    "description": "Wait",
}


def scenario(*calls: dict[str, Any], **last: Any) -> Scenario:
    """One Bash call after the other, then a text."""
    replies = [
        {"name": f"call {n}", "when": {"calls": n}, "calls": [{"tool": "Bash", "input": call}]}
        for n, call in enumerate(calls)
    ]
    last = last or {"text": "Done."}
    return Scenario.model_validate(
        {"about": "Runs commands.", "replies": [*replies, {"name": "ends", **last}]}
    )


def marked(options: ClaudeAgentOptions) -> tuple[ClaudeAgentOptions, Callable[[], list[str]]]:
    """Options whose agent's processes can be told from all others, and what tells them."""
    name, value = "MARK", str(uuid4())
    mark = f"{name}={value}".encode()

    def living() -> list[str]:
        return [
            Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            for pid, _, _ in processes()
            if pid != os.getpid() and mark in environment(pid)
        ]

    return replace(options, env={**options.env, name: value}), living


def environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


async def until(condition: Callable[[], object], within: float = 20.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within} s"
        await asyncio.sleep(0.01)


async def test_when_its_worker_is_killed_nothing_of_the_agent_goes_on(
    options: Options, tmp_path: Path
) -> None:
    async with ScriptedModel(scenario(BACKGROUND, FOREGROUND)) as model:
        given, living = marked(options(model))
        told = {
            "env": given.env,
            "cwd": str(given.cwd),
            "model": given.model,
            "permission_mode": given.permission_mode,
        }
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, json.dumps(told)
        )
        await until((tmp_path / "work" / "running").exists)
        assert sum("sleep 60" in command for command in living()) >= 3

        worker.kill()
        await worker.wait()

        await until(lambda: not living(), within=1.0)
        assert [request.reply for request in model.requests] == ["call 0", "call 1"]
    assert not (tmp_path / "work" / "late.txt").exists()


async def test_an_ordinary_end_is_prompt_and_leaves_nothing(options: Options) -> None:
    detaches = {"command": f"{DETACHED} true", "description": "Start a server"}
    async with ScriptedModel(scenario(detaches)) as model:
        given, living = marked(options(model))
        async with ClaudeSDKClient(kept(given)) as client:
            await client.query("Go.")
            (result,) = [message async for message in client.receive_response()][-1:]
            assert any("sleep 60" in command for command in living())
            ends = time.monotonic()
        assert time.monotonic() - ends < 2.0  # the CLI alone: 0.05 s

    assert isinstance(result, ResultMessage)
    assert result.result == "Done."
    assert living() == []


async def test_neither_the_model_nor_the_tools_can_tell(options: Options, tmp_path: Path) -> None:
    per_process = "CLAUDE_PID|CLAUDE_CODE_MESSAGING_SOCKET|CLAUDE_CODE_MESSAGING_TOKEN"
    shows = {"command": f"env | grep -vE '^({per_process})=' | sort", "description": "Look"}

    async def requests(keep: Callable[[ClaudeAgentOptions], ClaudeAgentOptions]) -> list[str]:
        async with ScriptedModel(scenario(shows)) as model:
            given = options(model, session_id="3c0c1f5e-0000-4000-8000-000000000001")
            async for _ in query(prompt="Go.", options=keep(given)):
                pass
            shutil.rmtree(tmp_path / "home")
            # Beside the session's id, the metadata hold one of the home folder's.
            bodies = [request.body | {"metadata": None} for request in model.requests]
            return [json.dumps(body).replace(model.base_url, "http://model") for body in bodies]

    bare = await requests(lambda given: given)
    assert "CLAUDE_AGENT_SDK_VERSION" in bare[1]
    assert await requests(kept) == bare


async def test_an_agent_that_hangs_is_stopped_now(options: Options) -> None:
    async with ScriptedModel(scenario(BACKGROUND, fault={"hang": "midway"})) as model:
        given, living = marked(options(model))
        async with ClaudeSDKClient(kept(given)) as client:
            await client.query("Go.")
            await model.wait_for(2)
            process = agent_process(client)
            assert process is not None
            os.kill(below(process)[0], signal.SIGSTOP)  # it heeds no SIGTERM any more

            await kill_tree(process, grace=0.1)

            assert living() == []
            with pytest.raises(ProcessError):
                await collect(client)
            started = time.monotonic()
        assert time.monotonic() - started < 1.0


async def collect(client: ClaudeSDKClient) -> list[Message]:
    return [message async for message in client.receive_messages()]
