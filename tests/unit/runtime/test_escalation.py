"""Escalations against a real HTTP server: what is posted, tried again, and never waited for."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
from collections.abc import AsyncIterator, Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import msgspec
import pytest
from aiohttp import web

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import ActionError
from supervisor.policy.escalation import Target
from supervisor.runtime.escalation import Escalations, told_before
from supervisor.runtime.notices import dedup_key
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

SECRET = "s3cret-of-the-hook"
DECISION = Decision(
    id="d1",
    session_id="s1",
    seq=12,
    at=datetime(2026, 3, 1, 12, tzinfo=UTC),
    verdict=Verdict(
        session_id="s1",
        transcript="t",
        seq=12,
        onset_seq=7,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.CRITICAL,
        confidence=0.9,
        summary="Bash(secret-command) returned the same 3 times.",
        evidence=Evidence(entries=(7, 12), facts={"result": "<b>\x1b[2J half \ud800", "times": 3}),
        key="k",
    ),
    choice=Choice.ACT,
    reason="rollback did not help: escalate, rung 3 of 3",
    rule="break loops",
    action="escalate",
)


class Receiver:
    """Somebody's HTTP server, as well or unwell as a test wants it."""

    def __init__(self) -> None:
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.hangs = False
        self.released = anyio.Event()
        self.got: list[tuple[str, bytes, dict[str, str]]] = []
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.got.append((request.path, await request.read(), dict(request.headers)))
        if self.hangs:
            await self.released.wait()
        status = self.answers.pop(0) if self.answers else 200
        return web.Response(status=status, headers=self.headers)

    def json(self, number: int = -1) -> Any:
        return json.loads(self.got[number][1])


class Record:
    """What the supervision, and its outcomes, are told."""

    objective = "Fix the secret-objective."

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.did: list[str] = []
        self.outcomes = self

    async def note(self, source: str, message: str, *, seq: int | None = None) -> None:
        self.notes.append(f"{source}: {message}")

    def acted(self, decision: Decision, did: str) -> None:
        self.did.append(did)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    receiver.url = f"http://{host}:{port}"
    yield receiver
    receiver.released.set()
    await runner.cleanup()


@pytest.fixture
def record() -> Record:
    return Record()


def escalations(
    record: Record,
    environment: dict[str, str] | None = None,
    told: Iterable[tuple[str, str]] = (),
    **targets: Target,
) -> Escalations:
    return Escalations(
        targets,
        record,  # type: ignore[arg-type] # what it is told, and nothing else
        told=told,
        environment=environment or {},
        first_pause=0.01,
    )


async def test_a_webhook_gets_a_signed_object_without_text_of_the_transcript(
    receiver: Receiver, record: Record
) -> None:
    target = Target(webhook=f"{receiver.url}/hook", secret_env="HOOK")
    telling = escalations(record, {"HOOK": SECRET}, oncall=target)

    assert await telling.tell(DECISION, "oncall") == "told oncall (HTTP 200)"
    await telling.close()

    ((path, body, headers),) = receiver.got
    signed = headers["Lucid-Timestamp"].encode() + b"." + body
    mac = hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert (path, headers["Lucid-Signature"]) == ("/hook", f"v1={mac}")
    said = receiver.json()
    assert headers["Idempotency-Key"] == said["dedup_key"] == dedup_key(DECISION)
    assert (said["session_id"], said["failure_mode"], said["rule"]) == ("s1", "loop", "break loops")
    assert b"secret" not in body


async def test_a_target_that_may_gets_the_evidence_bounded(
    receiver: Receiver, record: Record
) -> None:
    telling = escalations(record, oncall=Target(webhook=receiver.url, quotes=True))

    await telling.tell(DECISION, "oncall")
    await telling.close()

    said = receiver.json()
    assert said["objective"] == "Fix the secret-objective."
    assert said["facts"]["times"] == 3
    assert "\x1b" not in said["facts"]["result"]


async def test_an_alertmanager_gets_an_alert(receiver: Receiver, record: Record) -> None:
    target = Target(alertmanager=f"{receiver.url}/am/", token_env="TOKEN")
    telling = escalations(record, {"TOKEN": "t0ken"}, alerts=target)

    await telling.tell(DECISION, None)
    await telling.close()

    path, _, headers = receiver.got[0]
    assert (path, headers["Authorization"]) == ("/am/api/v2/alerts", "Bearer t0ken")
    (alert,) = receiver.json()
    assert alert["labels"]["alertname"] == "LucidEscalation"
    assert alert["labels"]["severity"] == "critical"
    assert alert["annotations"]["description"].endswith("lucid show s1")
    assert datetime.fromisoformat(alert["endsAt"]) > datetime.now(UTC)


async def test_a_chat_gets_a_text_without_markup_of_ours(
    receiver: Receiver, record: Record
) -> None:
    odd = msgspec.structs.replace(DECISION, rule="<!channel> & co")
    telling = escalations(record, {"CHAT": receiver.url}, chat=Target(slack="$CHAT"))

    await telling.tell(odd, "chat")
    await telling.close()

    assert "&lt;!channel&gt; &amp; co" in receiver.json()["text"]


async def test_the_same_failure_is_told_once_and_another_again(
    receiver: Receiver, record: Record
) -> None:
    telling = escalations(record, oncall=Target(webhook=receiver.url))
    other = msgspec.structs.replace(
        DECISION, verdict=msgspec.structs.replace(DECISION.verdict, key="another")
    )

    await telling.tell(DECISION, "oncall")
    again = await telling.tell(msgspec.structs.replace(DECISION, id="d2", seq=40), "oncall")
    await telling.tell(other, "oncall")
    await telling.close()

    assert again == "oncall was told of this before"
    assert len(receiver.got) == 2


async def test_what_a_former_worker_told_is_not_told_again_and_what_failed_is(
    receiver: Receiver, record: Record, tmp_path: Path
) -> None:
    chat = Target(slack="http://127.0.0.1:1/", within=timedelta(milliseconds=10))
    former = escalations(record, oncall=Target(webhook=receiver.url), chat=chat)
    did = await former.tell(DECISION, None)
    await former.close()
    async with SqliteStore(tmp_path / "lucid.db") as store:
        await store.create_session(DECISION.session_id, project_key="p")
        came = Outcome(
            session_id=DECISION.session_id,
            decision_id=DECISION.id,
            action="escalate",
            failure_mode=DECISION.verdict.failure_mode,
            status=OutcomeStatus.FAILED,
            seq=DECISION.seq + 1,
            at=DECISION.at,
            reason="loop again",
            did=did,
        )
        await store.record(DECISION.verdict, DECISION, came)
        told = await told_before(store, DECISION.session_id)

    both = {"oncall": Target(webhook=receiver.url), "chat": Target(slack=receiver.url)}
    telling = escalations(record, told=told, **both)
    again = await telling.tell(DECISION, None)
    await telling.close()

    assert again == "told chat (HTTP 200); oncall was told of this before"
    assert len(receiver.got) == 2


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_a_target_that_is_unwell_is_tried_again(
    receiver: Receiver, record: Record, status: int
) -> None:
    receiver.answers = [status, status]
    telling = escalations(record, oncall=Target(webhook=receiver.url))

    assert await telling.tell(DECISION, "oncall") == "told oncall (HTTP 200, attempt 3)"
    await telling.close()


@pytest.mark.parametrize("status", [302, 400, 401, 404])
async def test_a_target_that_refuses_is_not_tried_again(
    receiver: Receiver, record: Record, status: int
) -> None:
    receiver.answers = [status]
    receiver.headers = {"Location": f"{receiver.url}/elsewhere"}
    telling = escalations(record, oncall=Target(webhook=receiver.url))

    with pytest.raises(ActionError, match=f"oncall could not be told: it answers HTTP {status}"):
        await telling.tell(DECISION, "oncall")
    await telling.close()

    assert len(receiver.got) == 1
    assert record.notes == [
        f"escalation:oncall: oncall could not be told: it answers HTTP {status}"
    ]


async def test_a_target_that_hangs_holds_nobody_up_and_what_became_of_it_is_recorded(
    receiver: Receiver, record: Record
) -> None:
    receiver.hangs = True
    target = Target(webhook=receiver.url, timeout=timedelta(seconds=2), within=timedelta(seconds=1))
    telling = escalations(record, oncall=target)

    with anyio.fail_after(1.8):
        assert await telling.tell(DECISION, "oncall") == "oncall is being told"
    with anyio.fail_after(4):
        await telling.close()

    assert record.did == ["oncall could not be told in 1 attempts: no answer in time"]


async def test_a_target_that_hangs_at_the_end_is_given_up_loudly(
    receiver: Receiver, record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.runtime.escalation.LEAVE_WITHIN", 0.2)
    receiver.hangs = True
    telling = escalations(record, oncall=Target(webhook=receiver.url))

    await telling.tell(DECISION, "oncall")
    with anyio.fail_after(2):
        await telling.close()

    assert record.notes == ["escalation:oncall: oncall could not be told before the session ended"]


async def test_nobody_there_is_an_error_without_the_address(record: Record) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]  # free again once it is closed
    url = f"http://127.0.0.1:{port}/T0/very-secret-path"
    target = Target(webhook=url, within=timedelta(milliseconds=20))
    telling = escalations(record, oncall=target)

    with pytest.raises(ActionError) as raised:
        await telling.tell(DECISION, "oncall")
    await telling.close()

    assert "no connection" in str(raised.value)
    assert "very-secret-path" not in str(raised.value) + str(record.notes)


async def test_one_of_two_that_could_be_told_is_enough(receiver: Receiver, record: Record) -> None:
    receiver.answers = [404, 200]
    telling = escalations(
        record, a=Target(webhook=f"{receiver.url}/a"), b=Target(webhook=f"{receiver.url}/b")
    )

    said = await telling.tell(DECISION, None)
    await telling.close()

    assert "could not be told: it answers HTTP 404" in said
    assert "(HTTP 200)" in said


async def test_a_variable_that_is_not_set_is_said(record: Record) -> None:
    telling = escalations(record, oncall=Target(webhook="$HOOK_URL"))

    with pytest.raises(ActionError, match="oncall: set the environment variable HOOK_URL"):
        await telling.tell(DECISION, "oncall")


async def test_what_is_secret_is_not_in_the_policy_that_is_kept() -> None:
    target = Target(slack="$CHAT", token_env="TOKEN")

    assert json.loads(target.model_dump_json())["slack"] == "$CHAT"
    assert target.variables == ("CHAT", "TOKEN")


async def test_secrets_in_what_is_quoted_are_left_out(receiver: Receiver, record: Record) -> None:
    verdict = msgspec.structs.replace(
        DECISION.verdict, summary="pushed to https://me:hunter2@example.com, 3 times"
    )
    telling = escalations(record, oncall=Target(webhook=receiver.url, quotes=True))

    await telling.tell(msgspec.structs.replace(DECISION, verdict=verdict), "oncall")
    await telling.close()

    assert receiver.json()["summary"] == (
        "pushed to https://me:[redacted:password]@example.com, 3 times"
    )
