"""`Desk`: answers the hooks of agents, each before the CLI gives up waiting.

What happened is read from the transcript, never from a hook: a hook says only that now is the
moment to read, and is the place to answer. So nothing is counted twice, and a hook that comes
twice, late or out of order does no harm.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from datetime import UTC, datetime
from typing import Protocol

import msgspec

from supervisor.core.intent import Intent
from supervisor.core.interruption import Failure, FailureKind
from supervisor.core.session import SessionState
from supervisor.core.text import one_line
from supervisor.errors import StoreError
from supervisor.metrics import METRICS, HookResult
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.announced import Announced
from supervisor.sidecar.control import HookControl
from supervisor.sidecar.gate import Answer
from supervisor.sidecar.hook import Hook

__all__ = ["Desk", "Followed", "Following"]

log = logging.getLogger(__name__)

WITHIN = 3.0
"""Seconds that the CLI is taken to wait where the hook does not say."""

MARGIN = 0.5
"""Seconds of a hook's time-out that are left for the way there and back."""

CATCH_UP_SECONDS = 0.5
"""How long a call may wait for the transcript while an action's outcome is open. The file is
20 to 50 ms behind the hook (measured on CLI 2.1.330)."""

LAST_WORDS_SECONDS = 2.0
"""How long it may take at a stop to hold what the agent said last."""

POLL_SECONDS = 0.01
"""How often it is read meanwhile."""

_TO_ANSWER = 0.2
"""Seconds of a stop's time for all but the check."""

_LEFT = (SessionState.CLOSED, "the caller left before the agent finished")

_REMEMBERED = 8192
"""Answers that are kept for a hook that comes again."""


class Followed(Protocol):
    """One session as the desk needs it: `FollowedSession`."""

    session_id: str
    supervision: Supervision
    control: HookControl
    is_elsewhere: bool
    """A worker has taken it since."""

    async def read_now(self) -> None:
        """Read, store and judge what its files hold beyond what was read."""

    async def ended(self, reason: str) -> None:
        """The agent's process has ended."""


class Following(Protocol):
    """Finds a hook's session: `Sidecar`."""

    async def session_for(self, hook: Hook) -> Followed | None:
        """The session, or None where this sidecar does not (or may not) follow it."""

    def expects(self, hook: Hook) -> bool:
        """Whether the hook's session would be followed, if only its transcript were there."""


class Desk:
    """Answers hooks. Never raises for a hook that `read_hook` let pass: what fails here is
    logged and counted, and the agent goes on as if there were no Lucid."""

    def __init__(self, sidecar: Following) -> None:
        self._sidecar = sidecar
        self._announced = Announced(sidecar.expects, self._begun)
        self._given: OrderedDict[tuple[str | None, ...], asyncio.Future[Answer]] = OrderedDict()
        self._moments: Mapping[str, Callable[[Followed, Hook, float], Awaitable[Answer]]] = {
            "PreToolUse": self._before,
            "PostToolUse": self._after,
            "PostToolUseFailure": self._after,
            "UserPromptSubmit": self._prompted,
            "Stop": self._stopping,
            "StopFailure": self._broke_off,
            "SessionEnd": self._ended,
        }

    async def answer(self, hook: Hook, *, within: float | None = None) -> dict[str, object]:
        """The JSON for the CLI, `{}` where there is nothing to say, before the CLI gives up
        after `within` seconds (the `Lucid-Timeout` header of the settings snippet)."""
        since = time.monotonic()
        until = since + max((within or WITHIN) - MARGIN, MARGIN)
        result, answer = await self._answered(hook, until)
        METRICS.hook(hook.event, result, time.monotonic() - since)
        return dict(answer)

    async def _answered(self, hook: Hook, until: float) -> tuple[HookResult, Answer]:
        try:
            async with asyncio.timeout(until - time.monotonic()):
                session = await self._sidecar.session_for(hook)
                if session is None and self._announces(hook):
                    return HookResult.QUIET, {}
                if session is None and await self._announced.has_begun(hook, CATCH_UP_SECONDS):
                    session = await self._sidecar.session_for(hook)
                if session is None:
                    return HookResult.UNKNOWN_SESSION, {}
                return await self._at(session, hook, until)
        except TimeoutError:
            log.warning("session %s: no answer to %s in time", hook.session_id, hook.event)
            return HookResult.LATE, {}
        except StoreError as error:
            log.error("session %s: no answer to %s: %s", hook.session_id, hook.event, error)
            return HookResult.FAILED, {}
        except Exception:  # whatever fails here stops no agent
            log.exception("session %s: %s could not be answered", hook.session_id, hook.event)
            return HookResult.FAILED, {}

    def _announces(self, hook: Hook) -> bool:
        """Whether it is the first prompt of a session, whose transcript the CLI writes behind
        it. Only that makes the session: a hook may be anybody's."""
        if hook.event != "UserPromptSubmit" or not self._sidecar.expects(hook):
            return False
        self._announced.add(hook)
        return True

    async def _begun(self, hook: Hook) -> None:
        """The transcript is there behind its first prompt: the agent can be reached from here
        on, as if the prompt had come now."""
        session = await self._sidecar.session_for(hook)
        if session is not None:
            session.control.reached(hook.cwd)
            await session.read_now()
            await _at_work(session, hook)

    async def _at(self, session: Followed, hook: Hook, until: float) -> tuple[HookResult, Answer]:
        session.control.reached(hook.cwd)
        await session.read_now()
        if session.is_elsewhere:
            return HookResult.UNKNOWN_SESSION, {}
        moment = self._moments.get(hook.event)
        if moment is None:
            return HookResult.QUIET, {}
        # What was found is acted on by tasks that have not run yet: let them come as far as
        # they can without the agent.
        await asyncio.sleep(0)
        session.control.listen()
        key = await self._key(session, hook)
        if key is not None and (given := self._given.get(key)) is not None:
            return HookResult.REPEATED, await asyncio.shield(given)
        answer = await self._once(key, moment(session, hook, until))
        return _result(answer), answer

    async def _key(self, session: Followed, hook: Hook) -> tuple[str | None, ...] | None:
        """The same for a hook that comes again; None where that cannot be told."""
        which = hook.tool_use_id or hook.prompt_id
        if hook.event == "Stop":
            said = hook.last_assistant_message or ""
            await _read_until(session, session.supervision.progress.heard(said, LAST_WORDS_SECONDS))
            which = await self._last_output(session, hook)
        return (hook.session_id, hook.event, hook.agent_id, which) if which else None

    async def _last_output(self, session: Followed, hook: Hook) -> str:
        """Where the agent spoke last: one that was kept at work does before it asks again,
        perhaps in the same words."""
        mark = session.supervision.outage_mark
        given = self._given.get((hook.session_id, hook.event, hook.agent_id, mark))
        until = time.monotonic() + CATCH_UP_SECONDS
        while given is not None and given.done() and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
            await session.read_now()
            if session.supervision.outage_mark != mark:
                break
        return session.supervision.outage_mark

    async def _once(
        self, key: tuple[str | None, ...] | None, answering: Awaitable[Answer]
    ) -> Answer:
        """Answer, and keep the answer; what fails is tried again when the hook comes again."""
        if key is None:
            return await answering
        given = self._given[key] = asyncio.get_running_loop().create_future()
        if len(self._given) > _REMEMBERED:
            self._given.popitem(last=False)
        try:
            answer = await answering
        except BaseException:
            self._given.pop(key, None)
            given.set_result({})
            raise
        given.set_result(answer)
        return answer

    async def _before(self, session: Followed, hook: Hook, until: float) -> Answer:
        await _at_work(session, hook)
        supervision = session.supervision
        if supervision.outcomes.is_open(hook.agent_id):
            caught_up = supervision.progress.caught_up(hook.tool_use_id, CATCH_UP_SECONDS)
            await _read_until(session, caught_up)
            await asyncio.sleep(0)
        intent = Intent(
            session_id=session.session_id,
            call_id=hook.tool_use_id,
            tool=hook.tool_name,
            input=msgspec.Raw(bytes(hook.tool_input)),
            agent_id=hook.agent_id,
            at=datetime.now(UTC),
        )
        answer = session.control.gate.before(intent)
        if _result(answer) is HookResult.DENIED:
            _end_the_turn(session, hook, answer)
        else:
            await _intended(supervision, intent)
        return answer

    async def _after(self, session: Followed, hook: Hook, until: float) -> Answer:
        await _at_work(session, hook)
        answer = session.control.gate.after(hook.event, hook.tool_use_id, hook.agent_id)
        _end_the_turn(session, hook, answer)
        return answer

    async def _prompted(self, session: Followed, hook: Hook, until: float) -> Answer:
        if (refusal := await session.control.refusal()) is not None:
            return {"decision": "block", "reason": refusal}
        await _at_work(session, hook)
        return session.control.gate.shown(hook.event, "", None)

    async def _stopping(self, session: Followed, hook: Hook, until: float) -> Answer:
        await _at_work(session, hook)
        return await session.control.leave.asked(hook, until - time.monotonic() - _TO_ANSWER)

    async def _broke_off(self, session: Followed, hook: Hook, until: float) -> Answer:
        """The model's service failed. Going on with the turn needs its process: the decision
        offers the session to somebody who can."""
        if hook.agent_id is not None:
            return {}
        await _at_work(session, hook)
        said = one_line(hook.last_assistant_message or "", 200)
        session.control.turns.end((SessionState.BROKEN, f"the model's service failed: {said}"))
        failure = Failure(kind=FailureKind.RESULT, terminal_reason="api_error", text=said)
        interruption = await session.supervision.diagnose(failure, hook.session_id)
        await session.supervision.interrupted(interruption, hook.session_id)
        return {}

    async def _ended(self, session: Followed, hook: Hook, until: float) -> Answer:
        session.control.turns.end(_LEFT)
        await session.control.turns.close()
        await session.ended(f"the agent's process ended ({hook.reason or 'it does not say why'})")
        return {}


async def _at_work(session: Followed, hook: Hook) -> None:
    if hook.agent_id is None and hook.prompt_id:
        await session.control.turns.at(hook.prompt_id)


def _end_the_turn(session: Followed, hook: Hook, answer: Answer) -> None:
    if hook.agent_id is None and answer.get("continue") is False:
        session.control.turns.end()


async def _intended(supervision: Supervision, intent: Intent) -> None:
    try:
        await supervision.intend(intent)
    except StoreError as error:
        # A call is not held for a store that is away: the hook's time is short.
        METRICS.unprotected_calls.inc()
        log.error("session %s: intent not written: %s", intent.session_id, error)


async def _read_until(session: Followed, waiting: Coroutine[object, object, bool]) -> None:
    """Read the session's files until what is waited for stands there, or it waits no more."""
    task = asyncio.create_task(waiting)
    try:
        while True:
            await asyncio.wait({task}, timeout=POLL_SECONDS)
            if task.done():
                return
            await session.read_now()
    finally:
        task.cancel()


def _result(answer: Answer) -> HookResult:
    if answer.get("decision") == "block":
        return HookResult.KEPT_ON
    said = answer.get("hookSpecificOutput")
    if isinstance(said, Mapping) and "permissionDecision" in said:
        return HookResult.DENIED
    return HookResult.CONTEXT if answer else HookResult.QUIET
