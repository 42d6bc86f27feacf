"""The store goes away in the middle of a run: the agent pauses, or goes on, and nothing is
lost."""

from __future__ import annotations

import asyncio
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    HookContext,
    HookInput,
    HookMatcher,
    Message,
    ResultMessage,
    SystemMessage,
)

from supervisor import SupervisedClient
from supervisor.core.session import SessionState
from supervisor.errors import LeaseLost
from supervisor.metrics import METRICS
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.fork import local_transcript
from supervisor.store.codec import identify
from supervisor.store.postgres import PostgresStore
from supervisor.testing import Scenario, ScriptedModel
from tests.postgres import PostgresServer, postgres_dsn, postgres_server

__all__ = ["postgres_dsn", "postgres_server"]

pytestmark = pytest.mark.anyio

Options = Callable[..., ClaudeAgentOptions]

CALLS = 5
BREAKS_AT = 3
SOON = 60.0
COUNT = """
import psycopg
with psycopg.connect({dsn!r}) as db:
    print(db.execute("SELECT count(*) FROM lucid.intent").fetchone()[0])
"""


def policy(store: str) -> Policy:
    return parse_policy(
        f"version: 1\nstore: {store}\nrules: [{{name: loops, on: loop, ladder: [nudge]}}]",
        "p.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


def scenario(command: str) -> Scenario:
    """Some calls of a command, each with its number, and an end."""
    calls = [
        {
            "name": f"call {number}",
            "times": 1,
            "calls": [{"tool": "Bash", "input": {"command": f"{command} >> out; : {number}"}}],
        }
        for number in range(1, CALLS + 1)
    ]
    return Scenario.model_validate(
        {"about": "Counts.", "replies": [*calls, {"name": "ends", "text": "Done."}]}
    )


def counting(dsn: str) -> str:
    """A command that prints how many intents the store holds."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(COUNT.format(dsn=dsn))}"


def lines(file: Path) -> list[str]:
    return file.read_text().splitlines() if file.exists() else []


def incidents(messages: list[Message]) -> list[str]:
    return [
        message.data["message"]
        for message in messages
        if isinstance(message, SystemMessage) and message.subtype == "lucid_incident"
    ]


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    soon = timedelta(milliseconds=200)
    async with PostgresStore(postgres_dsn, reconnect_within=soon) as store:
        yield store


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "spool"
    monkeypatch.setenv("LUCID_SPOOL", str(folder))
    return folder


def stopping_before(call: int, server: PostgresServer) -> dict[Any, list[HookMatcher]]:
    """Hooks of the caller's that stop the server when the call before this one has ended."""
    seen: list[str | None] = []

    async def stop(hook: HookInput, call_id: str | None, context: HookContext) -> Any:
        seen.append(call_id)
        if len(seen) == call - 1:
            server.stop()
        return {}

    return {"PostToolUse": [HookMatcher(hooks=[stop])]}


async def sees(
    client: SupervisedClient, messages: list[Message], told: asyncio.Event | None = None
) -> None:
    async for message in client.receive_response():
        messages.append(message)
        if told is not None and incidents([message]):
            told.set()


async def assert_whole(
    client: SupervisedClient, store: PostgresStore, options: ClaudeAgentOptions
) -> None:
    """The store holds every entry of the local transcript, once, in order, to the byte."""
    session_id = client.session_id or ""
    entries = [entry async for entry in store.entries(session_id)]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    row = await store.session(session_id)
    local = local_transcript(row.project_key, session_id, options.env)
    written = [line.encode() for line in lines(local)]
    assert [entry.raw for entry in entries if entry.uuid] == [
        line for line in written if identify(line).uuid
    ]
    assert {entry.raw for entry in entries} <= set(written)
    assert len(await store.intents(session_id)) == CALLS
    assert row.state is SessionState.REACHED


async def test_the_next_call_waits_until_the_store_is_back_and_its_intent_is_in_it(
    options: Options,
    store: PostgresStore,
    postgres_dsn: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    spool: Path,
) -> None:
    out, messages = tmp_path / "work" / "out", list[Message]()
    async with ScriptedModel(scenario(counting(postgres_dsn))) as model:
        given = options(model, hooks=stopping_before(BREAKS_AT, postgres_server))
        async with SupervisedClient(given, store=store, policy=policy("{}")) as client:
            await client.query("Count.")
            told = asyncio.Event()
            reading = asyncio.create_task(sees(client, messages, told))
            try:
                async with asyncio.timeout(SOON):
                    await told.wait()
                assert METRICS.store_away._value.get() == 1
                await asyncio.sleep(0.5)
                assert lines(out) == ["1", "2"], "no call has run since"
                assert len(os.listdir(spool)) == 1
            finally:
                postgres_server.start()
            async with asyncio.timeout(SOON):
                await reading
        assert not model.unmatched

    assert lines(out) == ["1", "2", "3", "4", "5"], "each call found its own intent in the store"
    await assert_whole(client, store, given)
    away, back = incidents(messages)
    assert "tool calls wait for it, at most 30m" in away
    assert "the store is back after" in back
    assert {away, back} == {
        found.message for found in await store.incidents(client.session_id or "")
    }
    assert os.listdir(spool) == []
    assert METRICS.store_away._value.get() == METRICS.spooled_operations._value.get() == 0


async def test_an_agent_that_may_go_on_does_and_all_of_it_is_kept(
    options: Options,
    store: PostgresStore,
    postgres_server: PostgresServer,
    tmp_path: Path,
    spool: Path,
) -> None:
    out, messages = tmp_path / "work" / "out", list[Message]()
    unprotected = METRICS.unprotected_calls._value.get()
    async with ScriptedModel(scenario("echo ran")) as model:
        given = options(model, hooks=stopping_before(BREAKS_AT, postgres_server))
        client = SupervisedClient(given, store=store, policy=policy("{when_away: go_on}"))
        async with client:
            try:
                await client.query("Count.")
                await sees(client, messages)
                assert lines(out) == ["ran"] * CALLS, "the store is still away"
            finally:
                postgres_server.start()

    assert isinstance(messages[-1], ResultMessage)
    await assert_whole(client, store, given)
    assert "run without being written down in it first" in incidents(messages)[0]
    assert METRICS.unprotected_calls._value.get() - unprotected == CALLS - BREAKS_AT + 1
    assert os.listdir(spool) == []


async def test_a_call_that_waited_in_vain_is_not_run_and_the_model_is_told(
    options: Options, store: PostgresStore, postgres_server: PostgresServer, tmp_path: Path
) -> None:
    messages: list[Message] = []
    async with ScriptedModel(scenario("echo ran")) as model:
        given = options(model, hooks=stopping_before(CALLS, postgres_server))
        brief = policy("{pause_at_most: 300ms}")
        async with SupervisedClient(given, store=store, policy=brief) as client:
            try:
                await client.query("Count.")
                await sees(client, messages)
            finally:
                postgres_server.start()
        told = json.dumps(model.requests[-1].body["messages"])

    assert lines(tmp_path / "work" / "out") == ["ran"] * (CALLS - 1)
    assert "what this agent does must be written down first, and for 300ms" in told
    assert any("was denied" in said for said in incidents(messages))


async def test_a_session_that_is_taken_over_meanwhile_stops_and_its_call_does_not_run(
    options: Options,
    store: PostgresStore,
    postgres_server: PostgresServer,
    tmp_path: Path,
    spool: Path,
) -> None:
    ended: list[str | None] = []

    async def take_over(hook: HookInput, call_id: str | None, context: HookContext) -> Any:
        ended.append(call_id)
        if len(ended) == BREAKS_AT - 1:
            lease = await store.lease(client.session_id or "")
            assert lease is not None
            await store.release_lease(lease)
            await store.acquire_lease(lease.session_id, owner="another", ttl=timedelta(hours=1))
            postgres_server.stop()
        return {}

    told = asyncio.Event()
    async with ScriptedModel(scenario("echo ran")) as model:
        given = options(model, hooks={"PostToolUse": [HookMatcher(hooks=[take_over])]})
        async with SupervisedClient(given, store=store, policy=policy("{}")) as client:
            await client.query("Count.")
            reading = asyncio.create_task(sees(client, [], told))
            try:
                async with asyncio.timeout(SOON):
                    await told.wait()
            finally:
                postgres_server.start()
            with pytest.raises(LeaseLost, match="another took the session over"):
                await asyncio.wait_for(reading, SOON)

    assert lines(tmp_path / "work" / "out") == ["ran"] * (BREAKS_AT - 1)
    assert [Path(name).suffix for name in os.listdir(spool)] == [".refused"]


DIES = """
import asyncio, sys
from claude_agent_sdk import ClaudeAgentOptions
from supervisor import SupervisedClient
from supervisor.store.postgres import PostgresStore
from tests.acceptance.test_store_away import policy
import json

async def main(dsn, options):
    async with SupervisedClient(
        ClaudeAgentOptions(**json.loads(options)), store=dsn, policy=policy("{when_away: go_on}")
    ) as client:
        await client.query("Count.")
        async for message in client.receive_response():
            pass
        print(client.session_id, flush=True)
        await asyncio.sleep(600)

asyncio.run(main(*sys.argv[1:]))
"""


async def test_what_a_killed_worker_could_not_write_is_there_when_the_session_is_resumed(
    options: Options,
    store: PostgresStore,
    postgres_dsn: str,
    postgres_server: PostgresServer,
    tmp_path: Path,
    spool: Path,
) -> None:
    stop = f"kill -INT {postgres_server._process.pid if postgres_server._process else 0}; echo ran"
    async with ScriptedModel(scenario(stop)) as model:
        given = options(model)
        plain = {
            "env": given.env,
            "cwd": str(given.cwd),
            "model": given.model,
            "permission_mode": given.permission_mode,
        }
        worker = await asyncio.create_subprocess_exec(
            *[sys.executable, "-c", DIES, postgres_dsn, json.dumps(plain)],
            stdout=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )
        try:
            assert worker.stdout is not None
            session_id = (await worker.stdout.readline()).decode().strip()
            worker.send_signal(signal.SIGKILL)
            async with asyncio.timeout(10):
                await worker.communicate()  # until all that hold its output are gone too
        finally:
            postgres_server.stop()
            postgres_server.start()
        assert len(os.listdir(spool)) == 1
        few = len([entry async for entry in store.entries(session_id)])
        again = options(model, resume=session_id)
        async with SupervisedClient(again, store=store, policy=policy("{}")) as client:
            entries = [entry async for entry in store.entries(session_id)]

    assert few < len(entries)
    local = local_transcript((await store.session(session_id)).project_key, session_id, given.env)
    written = [line.encode() for line in lines(local) if identify(line.encode()).uuid]
    assert [entry.raw for entry in entries if entry.uuid] == written
    assert len(await store.intents(session_id)) == CALLS
    assert client.session_id == session_id
    assert os.listdir(spool) == []
