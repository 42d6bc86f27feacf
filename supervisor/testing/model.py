"""`ScriptedModel`: a local Messages API server that plays a scenario."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn, Self

import msgspec
from aiohttp import web

from supervisor.testing import sse
from supervisor.testing.context import Context
from supervisor.testing.environment import cli_env
from supervisor.testing.request import Request, decode, refusal
from supervisor.testing.scenario import Fault, Reply, Scenario, load_scenario
from supervisor.testing.usage import PromptCache, estimate_input

__all__ = ["RecordedRequest", "ScriptedModel"]

_LARGEST_BODY = 64 * 1024 * 1024  # bytes; the real service takes 32 MB
_GRACE = 0.1  # seconds for replies under way when the model is left
_CALL_ID = re.compile(r"toolu_(\d+)_\d+")

_SUMMARY = Reply(
    name="built-in: summary",
    text=(
        "<analysis>The scenario says nothing of compaction.</analysis>\n"
        "<summary>The work so far was set aside; the objective stands as the user gave it."
        "</summary>"
    ),
)
_NO_REPLY = Reply(
    name="built-in: no reply",
    text="The scenario has no reply for this context. Its author finds it in `model.unmatched`.",
)
_CUT_SHORT = "Let me think about what to do next, one thing after the other."


@dataclass(frozen=True)
class RecordedRequest:
    """One request to the model, and what it was answered with."""

    path: str
    """With the query, as the client sent it."""
    body: dict[str, Any]
    at: datetime
    """When it arrived, in UTC."""
    reply: str
    """The name of the reply given, or `built-in: ...`."""
    context: Context = field(repr=False)


class ScriptedModel:
    """A Messages API on the loopback interface, for as long as it is entered.

    Takes a scenario, a YAML file's path, or the name of a shipped scenario; `port` 0
    picks a free one. Replies depend on the request's context alone, except for a
    reply's `times`. Leaving it ends open connections at once.
    """

    def __init__(self, scenario: Scenario | str | Path, *, port: int = 0) -> None:
        self.scenario = scenario if isinstance(scenario, Scenario) else load_scenario(scenario)
        self.requests: list[RecordedRequest] = []
        """Every request for a message so far, those answered with a fault included."""
        self.unmatched: list[RecordedRequest] = []
        """Those that no reply of the scenario was for."""
        self.refused: list[str] = []
        """Why requests were answered 400 or 404: they broke the API's rules."""
        self._port = port
        self._used: Counter[str] = Counter()
        self._last_number = 0
        self._cache = PromptCache()
        self._arrival = asyncio.Condition()
        self._closing = asyncio.Event()
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_route("*", "/{path:.*}", self._not_found)
        runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=_GRACE
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
        except OSError:
            await runner.cleanup()
            raise
        self._closing.clear()
        self._runner = runner
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._closing.set()
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    @property
    def base_url(self) -> str:
        """Where it listens: the value of `ANTHROPIC_BASE_URL`."""
        if self._runner is None:
            raise RuntimeError("the scripted model is not running: enter it with `async with`")
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}"

    def env(self, home: Path) -> dict[str, str]:
        """The environment for a CLI that talks to this model; see `cli_env`. What the
        scenario asks for is in it."""
        return {**cli_env(self.base_url, home), **self.scenario.env}

    async def wait_for(self, requests: int, within: float | None = 30.0) -> None:
        """Wait until that many requests for a message have come.

        Raises `TimeoutError` after `within` seconds; None waits for ever.
        """
        try:
            async with asyncio.timeout(within), self._arrival:
                await self._arrival.wait_for(lambda: len(self.requests) >= requests)
        except TimeoutError:
            came = len(self.requests)
            raise TimeoutError(f"{came} of {requests} requests came in {within} s") from None

    async def _messages(self, http: web.Request) -> web.StreamResponse:
        body = await http.read()
        try:
            request = decode(body)
        except msgspec.DecodeError as error:
            return self._refuse(400, str(error))
        if problem := refusal(request):
            return self._refuse(400, problem)
        context = Context.of(request)
        reply = await self._choose(http.path_qs, body, context)
        number = self._next_number(context)
        await asyncio.sleep(self.scenario.delay if reply.delay is None else reply.delay)
        return await self._answer(http, request, reply, number)

    async def _choose(self, path: str, body: bytes, context: Context) -> Reply:
        reply = self.scenario.reply_to(context, self._used)
        unmatched = reply is None and context.request == "ordinary"
        if reply is None:
            reply = _NO_REPLY if unmatched else _SUMMARY
        self._used[reply.name] += 1
        record = RecordedRequest(path, json.loads(body), datetime.now(UTC), reply.name, context)
        if unmatched:
            self.unmatched.append(record)
        async with self._arrival:
            self.requests.append(record)
            self._arrival.notify_all()
        return reply

    def _next_number(self, context: Context) -> int:
        """Counts up, past what an earlier model gave out in the same conversation: ids
        stay unique where a session is resumed against another model."""
        matches = (_CALL_ID.fullmatch(call.id) for call in context.calls)
        given = (int(match[1]) for match in matches if match)
        self._last_number = max(self._last_number, *given, 0) + 1
        return self._last_number

    async def _answer(
        self, http: web.Request, request: Request, reply: Reply, number: int
    ) -> web.StreamResponse:
        fault = reply.fault
        if fault is None:
            return await self._give(http, request, reply, number)
        if fault.status is not None:
            error = sse.error_of(fault, fault.status)
            return web.json_response(error, status=fault.status, headers=fault.headers)
        if fault.midway and request.stream:
            await self._begin(http, request, reply, number)
        return await self._break_off(http, fault)

    async def _give(
        self, http: web.Request, request: Request, reply: Reply, number: int
    ) -> web.StreamResponse:
        usage = self._cache.usage(request, reply)
        if not request.stream:
            return web.json_response(sse.message(number, request.model, reply, usage))
        response = await _send(http, sse.stream(number, request.model, reply, usage))
        with suppress(ConnectionResetError):
            await response.write_eof()
        return response

    async def _begin(self, http: web.Request, request: Request, reply: Reply, number: int) -> None:
        """Send half of a message: of the reply's own, if it has one."""
        if not (reply.text or reply.thinking or reply.calls):
            reply = reply.model_copy(update={"text": _CUT_SHORT})
        usage = self._cache.usage(request, reply)
        events = list(sse.stream(number, request.model, reply, usage))
        await _send(http, events[: (len(events) + 1) // 2])

    async def _break_off(self, http: web.Request, fault: Fault) -> NoReturn:
        if fault.drop is None:
            await self._closing.wait()
        if http.transport is not None:
            http.transport.abort()
        await asyncio.Event().wait()  # the lost connection cancels this handler
        raise AssertionError("nothing sets the event")

    async def _count_tokens(self, http: web.Request) -> web.StreamResponse:
        try:
            request = decode(await http.read())
        except msgspec.DecodeError as error:
            return self._refuse(400, str(error))
        return web.json_response({"input_tokens": estimate_input(request)})

    async def _not_found(self, http: web.Request) -> web.StreamResponse:
        return self._refuse(404, f"{http.method} {http.path}: the scripted model has no such path")

    def _refuse(self, status: int, problem: str) -> web.Response:
        self.refused.append(problem)
        return web.json_response(sse.error_body(status, problem), status=status)


async def _send(http: web.Request, events: Iterable[bytes]) -> web.StreamResponse:
    response = web.StreamResponse(headers={"content-type": "text/event-stream; charset=utf-8"})
    # A client that is interrupted goes away in the middle, as it does from the real service.
    with suppress(ConnectionResetError):
        await response.prepare(http)
        for event in events:
            await response.write(event)
    return response
