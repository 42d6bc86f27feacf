"""Who gets in: the token, the Host header, and what is left open."""

from __future__ import annotations

import asyncio
import logging

import pytest

from supervisor.metrics import METRICS
from supervisor.service.operations import OPERATIONS
from supervisor.service.token import hooks_token
from tests.unit.service.conftest import BEARER, TOKEN, Running, Start

pytestmark = pytest.mark.anyio

CLOSED = sorted({op.path.format(session_id="s") for op in OPERATIONS if not op.is_open})
SECRET = "not-the-token-but-like-one"


def counted(area: str, code: int) -> float:
    return METRICS.http_requests.labels(area, str(code))._value.get()


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers", [{}, {"Authorization": f"Bearer {SECRET}"}, {"Authorization": f"Basic {TOKEN}"}]
)
async def test_without_the_token_nothing_is_shown(
    running: Running, path: str, headers: dict[str, str]
) -> None:
    async with running.client.request(
        "POST" if path == "/hooks" else "GET", path, headers=headers
    ) as response:
        assert response.status == 401
        assert response.headers["WWW-Authenticate"] == "Bearer"
        said = await response.text()

    assert "token" in said
    assert TOKEN not in said
    assert running.window.came == []


@pytest.mark.parametrize("path", CLOSED)
async def test_with_the_agents_token_hooks_are_posted_and_nothing_is_shown(
    running: Running, path: str
) -> None:
    headers = {"Authorization": f"Bearer {hooks_token(TOKEN)}"}
    method, status = ("POST", 400) if path == "/hooks" else ("GET", 401)  # 400: no body
    async with running.client.request(method, path, headers=headers) as response:
        assert response.status == status


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
async def test_health_is_for_everybody(running: Running, path: str) -> None:
    async with running.client.get(path) as response:
        assert response.status == 200


async def test_paths_that_do_not_exist_say_so_only_to_those_with_the_token(
    running: Running,
) -> None:
    async with running.client.get("/nothing") as response:
        assert response.status == 401
    status, problem = await running.get("/nothing")
    assert (status, problem["detail"]) == (404, "there is no such path")
    status, problem = await running.get("/api/v1/sessions/")
    assert status == 404


async def test_another_method_is_refused(running: Running) -> None:
    async with running.client.delete("/api/v1/sessions", headers=BEARER) as response:
        assert response.status == 405
        assert response.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path", [f"/hooks/{SECRET}", "/hooks/", f"/hooks/{TOKEN}/", f"/hooks/{TOKEN}/x"]
)
async def test_a_hook_with_a_wrong_token_in_its_url_is_refused(running: Running, path: str) -> None:
    before = counted("hooks", 401)
    async with running.client.post(path, json={}, headers=BEARER) as response:
        assert response.status == 401

    assert counted("hooks", 401) == before + 1
    assert running.window.came == []


@pytest.mark.parametrize(
    "host",
    ["evil.example", "evil.example:7311", "127.0.0.1.evil.example", "", "localhost.evil.example"],
)
async def test_a_name_that_is_not_ours_is_refused(running: Running, host: str) -> None:
    """A page whose own name was pointed at this host cannot ask for anything."""
    async with running.client.get("/healthz", headers={"Host": host}) as response:
        assert response.status == 421


@pytest.mark.parametrize(
    "host",
    ["localhost:7311", "LOCALHOST", "127.0.0.1", "[::1]:7311", "10.0.0.7:80", "lucid.svc"],
)
async def test_our_names_and_addresses_are_taken(start: Start, host: str) -> None:
    running = await start(hosts=["lucid.svc"])
    async with running.client.get("/healthz", headers={"Host": host}) as response:
        assert response.status == 200


async def test_metrics_can_be_opened(start: Start) -> None:
    running = await start(open_metrics=True)
    async with running.client.get("/metrics") as response:
        assert response.status == 200
        assert "lucid_build_info" in await response.text()
    async with running.client.get("/api/v1/sessions") as response:
        assert response.status == 401


async def test_without_any_token_only_what_is_open_is_served(start: Start) -> None:
    running = await start(token=None, open_metrics=True, only={"/metrics", "/healthz", "/readyz"})
    for path, status in (("/metrics", 200), ("/healthz", 200), ("/api/v1/sessions", 401)):
        async with running.client.get(path, headers={"Authorization": "Bearer "}) as response:
            assert response.status == status


async def test_other_origins_may_read_nothing(running: Running) -> None:
    headers = {**BEARER, "Origin": "http://evil.example"}
    async with running.client.get("/api/v1/sessions", headers=headers) as response:
        assert not [name for name in response.headers if name.lower().startswith("access-control")]
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert response.headers["Cache-Control"] == "no-store"
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    async with running.client.options("/hooks", headers=preflight) as response:
        assert response.status == 401


async def test_no_log_holds_a_token(running: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    for path in (f"/hooks/{TOKEN}", f"/hooks/{SECRET}", f"/nothing/{TOKEN}"):
        async with running.client.post(path, data=b"{}", headers=BEARER):
            pass
    running.window.error = RuntimeError(f"about {TOKEN}")
    reader, writer = await asyncio.open_connection("127.0.0.1", running.address.port)
    writer.write(f"GET /hooks/{TOKEN} no http\r\n\r\n".encode())
    await reader.read()
    writer.close()

    ours = [one for one in caplog.records if not one.name.startswith(("aiohttp", "asyncio"))]
    assert [one for one in ours if TOKEN in one.getMessage() or SECRET in one.getMessage()] == []
