"""Hooks as they come over the wire: what is read, and what is refused with no effect."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from collections.abc import AsyncIterator

import pytest

from supervisor.metrics import METRICS
from supervisor.sidecar.hook import LARGEST_BODY
from tests.unit.service.conftest import BEARER, TOKEN, Running

pytestmark = pytest.mark.anyio

HOOK = {"hook_event_name": "PreToolUse", "session_id": "sdk-1", "tool_name": "Bash"}


def counted(code: int) -> float:
    return METRICS.http_requests.labels("hooks", str(code))._value.get()


async def posted(running: Running, body: bytes, **headers: str) -> tuple[int, dict[str, object]]:
    async with running.client.post("/hooks", data=body, headers={**BEARER, **headers}) as response:
        return response.status, json.loads(await response.read())


async def test_a_hook_is_answered(running: Running) -> None:
    running.window.says = {"hookSpecificOutput": {"permissionDecision": "deny"}}
    before = counted(200)

    status, said = await posted(running, json.dumps(HOOK).encode())

    assert (status, said) == (200, running.window.says)
    ((hook, within),) = running.window.came
    assert (hook.event, hook.session_id, hook.tool_name) == ("PreToolUse", "sdk-1", "Bash")
    assert within is None
    assert counted(200) == before + 1


async def test_the_token_may_stand_in_the_url(running: Running) -> None:
    async with running.client.post(f"/hooks/{TOKEN}", json=HOOK) as response:
        assert response.status == 200
        assert await response.json() == {}


@pytest.mark.parametrize(
    ("sent", "taken"),
    [("2.5", 2.5), ("", None), ("soon", None), ("-1", None), ("nan", None), ("inf", None)],
)
async def test_the_cli_says_how_long_it_waits(
    running: Running, sent: str, taken: float | None
) -> None:
    await posted(running, json.dumps(HOOK).encode(), **{"Lucid-Timeout": sent})
    assert [within for _, within in running.window.came] == [taken]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"hook_event_name": 1}', b"[" * 100_000, b"{}"],
)
async def test_a_body_that_is_no_hook_is_refused(running: Running, body: bytes) -> None:
    before = counted(400)

    status, problem = await posted(running, body)

    assert (status, problem["status"]) == (400, 400)
    assert running.window.came == []
    assert counted(400) == before + 1


async def test_a_hundred_megabytes_that_are_announced_are_not_read(running: Running) -> None:
    before = counted(413)
    reader, writer = await asyncio.open_connection("127.0.0.1", running.address.port)
    writer.write(
        f"POST /hooks/{TOKEN} HTTP/1.1\r\nHost: localhost\r\n"
        f"Content-Length: {100 * 1024 * 1024}\r\n\r\n".encode()
    )
    head = await reader.readuntil(b"\r\n\r\n")  # with not one byte of the body sent
    writer.close()

    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"connection: close" in head.lower()
    assert running.window.came == []
    assert counted(413) == before + 1


async def test_a_hundred_megabytes_that_come_in_parts_are_never_held(running: Running) -> None:
    sent = 0

    async def parts() -> AsyncIterator[bytes]:
        nonlocal sent
        for _ in range(1600):
            sent += 65_536
            yield b" " * 65_536

    tracemalloc.start()
    try:
        async with running.client.post("/hooks", data=parts(), headers=BEARER) as response:
            assert response.status == 413
    except (ConnectionError, OSError):
        pass  # the service hung up while the rest was being sent
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert running.window.came == []
    assert peak < 3 * LARGEST_BODY


async def test_a_fault_of_ours_is_an_answer_that_quotes_nothing(
    running: Running, caplog: pytest.LogCaptureFixture
) -> None:
    running.window.error = ValueError("the agent said: hunter2")

    status, problem = await posted(running, json.dumps(HOOK).encode())

    assert status == 500
    assert "hunter2" not in str(problem)
    assert "hunter2" not in caplog.text
    assert "ValueError" in caplog.text
