"""People are told, and nobody waits for that: the real SDK and CLI, and a real HTTP server."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from aiohttp import web

from supervisor import SupervisedClient
from supervisor.core.decision import Choice
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel
from tests.acceptance.conftest import Options

pytestmark = pytest.mark.anyio

LIMIT = 60.0
SECRET = "a-secret-of-this-test"
LOOK = {"tool": "Bash", "input": {"command": "cat state.txt"}}
LOOPS = Scenario.model_validate(
    {
        "about": "Looks at the same file until it gets bored.",
        "files": {"state.txt": "pending\n"},
        "replies": [
            {"name": "looks", "calls": [LOOK], "times": 8},
            {"name": "ends", "text": "It is pending."},
        ],
    }
)


class Hook:
    """A webhook's receiver; it answers, or hangs until it is released."""

    def __init__(self) -> None:
        self.got: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""
        self.answers = anyio.Event()
        self.answers.set()

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((await request.read(), dict(request.headers)))
        await self.answers.wait()
        return web.Response()


@pytest.fixture
async def hook() -> AsyncIterator[Hook]:
    hook = Hook()
    app = web.Application()
    app.router.add_post("/hook", hook.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    hook.url = f"http://{host}:{port}/hook"
    yield hook
    hook.answers.set()
    await runner.cleanup()


def policy(hook: Hook) -> Policy:
    return parse_policy(
        f"""version: 1
escalation:
  oncall: {{webhook: "{hook.url}", secret_env: HOOK_SECRET, within: 2s, timeout: 2s}}
rules:
  - name: tell somebody
    on: loop
    ladder: [escalate: {{to: oncall}}]
""",
        "policy.yaml",
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


async def run(options: Options, store: SqliteStore, used: Policy) -> tuple[str, float]:
    """Runs the loop to its end; returns the session, and how long the turn took."""
    async with ScriptedModel(LOOPS) as model:
        async with SupervisedClient(options(model), policy=used, store=store) as client:
            since = time.monotonic()
            with anyio.fail_after(LIMIT):
                await client.query("What became of it?")
                async for _ in client.receive_response():
                    pass
            took = time.monotonic() - since
        return client.session_id or "", took


async def test_a_loop_is_told_once_signed_and_the_agent_goes_on(
    options: Options, store: SqliteStore, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    session, _ = await run(options, store, policy(hook))

    ((body, headers),) = hook.got
    signed = headers["Lucid-Timestamp"].encode() + b"." + body
    assert headers["Lucid-Signature"] == (
        "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    )
    said = json.loads(body)
    assert (said["session_id"], said["failure_mode"]) == (session, "loop")
    assert b"cat state.txt" not in body
    outcomes = await store.outcomes(session)
    assert outcomes[0].did == "told oncall (HTTP 200)"
    assert outcomes[0].status is OutcomeStatus.FAILED  # it looped on, whoever was told
    row = await store.session(session)
    assert row.state is SessionState.GAVE_UP
    assert SECRET not in (row.policy or "")


async def test_a_target_that_hangs_does_not_hold_the_session_up(
    options: Options, store: SqliteStore, hook: Hook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOOK_SECRET", SECRET)
    _, healthy = await run(options, store, policy(hook))
    hook.answers = anyio.Event()

    session, took = await run(options, store, policy(hook))

    assert took < healthy + 3
    (incident,) = await store.incidents(session)
    assert incident.source == "escalation:oncall"
    assert incident.message == "oncall could not be told in 1 attempts: no answer in time"


async def test_what_no_retry_can_help_is_told_once_a_policy_names_somebody(
    options: Options, store: SqliteStore, hook: Hook, tmp_path: Path
) -> None:
    """As in the default policy, whose `escalate` is passed over until then."""
    file = tmp_path / "mine.yaml"
    file.write_text(
        f"version: 1\ninclude: default\nescalation: {{me: {{webhook: '{hook.url}'}}}}\n"
    )
    refused = Scenario.model_validate(
        {
            "about": "Has no key.",
            "env": {"CLAUDE_CODE_MAX_RETRIES": "0"},
            "replies": [{"name": "refuses", "fault": {"status": 401}}],
        }
    )
    async with (
        ScriptedModel(refused) as model,
        SupervisedClient(options(model), policy=file, store=store) as client,
    ):
        with anyio.fail_after(LIMIT):
            await client.query("Go.")
            async for _ in client.receive_response():
                pass
        state, _ = client.state

    [(body, _)] = hook.got
    assert json.loads(body)["failure_mode"] == "interruption"
    assert state in {SessionState.GAVE_UP, SessionState.BROKEN}
    decisions = await store.decisions(client.session_id or "")
    assert [one.action for one in decisions if one.choice is Choice.ACT] == ["escalate"]


async def test_a_secret_that_is_missing_is_told_and_stops_nobody(
    options: Options, store: SqliteStore, hook: Hook
) -> None:
    session, _ = await run(options, store, policy(hook))

    assert hook.got == []
    incidents = [incident.message for incident in await store.incidents(session)]
    assert "escalate failed: oncall: set the environment variable HOOK_SECRET" in incidents
