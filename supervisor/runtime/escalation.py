"""`Escalations`: telling people, without holding anybody up.

Each post goes out in a task of its own, with time-outs, and is tried again with longer and
longer pauses. Whoever asked for it waits for a moment only; what became of it later is
recorded beside the decision. Neither addresses nor secrets are logged or kept.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import re
import socket
import time
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import msgspec

from supervisor.core.decision import Decision
from supervisor.errors import ActionError
from supervisor.metrics import METRICS
from supervisor.policy.escalation import Target
from supervisor.privacy.redaction import redactor
from supervisor.runtime.notices import (
    Post,
    alert,
    dedup_key,
    notice,
    signature,
    slack_message,
)
from supervisor.runtime.supervision import Supervision
from supervisor.store.interface import Store

if TYPE_CHECKING:
    import aiohttp

__all__ = ["Escalations", "Told", "told_before"]

log = logging.getLogger(__name__)

SOON = 1.0
"""Seconds for which an action waits for its posts: enough for a target that is well, and no
agent is held up by it, but for the end of its turn."""

LEAVE_WITHIN = 5.0
"""Seconds for what is still on its way when the session ends."""

MOST_UNDER_WAY = 32
"""Posts under way at the same time, of one session."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds between two attempts: each is twice the last."""

_AGAIN = frozenset({408, 425, 429})
"""Besides 5xx, the answers after which it is tried again."""

_TOLD = re.compile(r"(?:^|; )told (.{1,60}?) \(HTTP \d{3}")
_ALERTS = "/api/v2/alerts"
_LONGEST_ANSWER = 65_536


Told = tuple[str, str]
"""A target, and the key of what it was told."""


async def told_before(store: Store, session_id: str) -> set[Told]:
    """Who was told of what by the session's former workers, as far as their outcomes say.

    What a worker told and did not live to record is told again, under the same key.
    """
    did = {one.decision_id: one.did for one in await store.outcomes(session_id) if one.did}
    return {
        (name, dedup_key(decision))
        for decision in await store.decisions(session_id)
        for name in _TOLD.findall(did.get(decision.id, ""))
    }


class _Refused(Exception):
    """The target does not take it, and would not later."""


class Escalations:
    """The escalations of one session."""

    def __init__(
        self,
        targets: Mapping[str, Target],
        supervision: Supervision,
        *,
        told: Iterable[Told] = (),
        environment: Mapping[str, str] = os.environ,
        first_pause: float = FIRST_PAUSE,
    ) -> None:
        self._targets = targets
        self._supervision = supervision
        self._environment = environment
        self._first_pause = first_pause
        self._told: set[Told] = set(told)
        self._under_way: set[asyncio.Task[str]] = set()
        self._http: aiohttp.ClientSession | None = None
        if targets:  # where nobody is to be told, the 0.1 s that it takes are spared
            import_module("aiohttp")

    async def tell(self, decision: Decision, to: str | None) -> str:
        """Tell one target, or all; returns soon what became of it, in one sentence. Raises
        `ActionError` where nobody could be told."""
        names = [to] if to is not None else sorted(self._targets)
        if not names:
            raise ActionError("the policy names nobody to tell")
        posts = {name: self._started(name, decision) for name in names}
        going = [task for task in posts.values() if task is not None]
        if going:
            await asyncio.wait(going, timeout=SOON)
        said = [_told(name, task) for name, task in posts.items()]
        if all(isinstance(one, ActionError) for one in said):
            raise ActionError("; ".join(map(str, said)))
        late = {name: task for name, task in posts.items() if task is not None and not task.done()}
        if late:
            task = asyncio.create_task(self._record(decision, posts))
            self._under_way.add(task)
            task.add_done_callback(self._under_way.discard)
        return "; ".join(map(str, said))

    async def close(self) -> None:
        """Wait a moment for what is under way, then give it up, loudly."""
        if self._under_way:
            _, left = await asyncio.wait(self._under_way, timeout=LEAVE_WITHIN)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)
        if self._http is not None:
            await self._http.close()

    def _started(self, name: str, decision: Decision) -> asyncio.Task[str] | None:
        """The post to a target, under way; None where it was told of this failure before."""
        target = self._targets.get(name)
        if target is None:
            raise ActionError(f"the policy names no target {name!r}")
        missing = [var for var in target.variables if not self._environment.get(var)]
        if missing:
            raise ActionError(f"{name}: set the environment variable {missing[0]}")
        if len(self._under_way) >= MOST_UNDER_WAY:
            raise ActionError(f"{name}: {MOST_UNDER_WAY} posts are under way already")
        key = (name, dedup_key(decision))
        if key in self._told:
            return None
        self._told.add(key)
        task = asyncio.create_task(self._delivered(name, target, decision))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)
        return task

    async def _record(
        self, decision: Decision, posts: Mapping[str, asyncio.Task[str] | None]
    ) -> str:
        """Keep what became of posts that took longer, as what the action did."""
        tasks = [task for task in posts.values() if task is not None]
        await asyncio.gather(*tasks, return_exceptions=True)
        said = "; ".join(str(_told(name, task)) for name, task in posts.items())
        self._supervision.outcomes.acted(decision, said)
        return said

    async def _delivered(self, name: str, target: Target, decision: Decision) -> str:
        """Post until it is taken. Raises `ActionError` where it is not."""
        result = "failed"
        try:
            said = await self._tried(name, target, self._post(target, decision))
            result = "delivered"
        except ActionError as error:
            await self._supervision.note(f"escalation:{name}", str(error), seq=decision.seq)
            raise
        except asyncio.CancelledError:
            message = f"{name} could not be told before the session ended"
            await self._supervision.note(f"escalation:{name}", message, seq=decision.seq)
            raise
        finally:
            METRICS.escalations.labels(way=target.way, result=result).inc()
        return said

    async def _tried(self, name: str, target: Target, post: Post) -> str:
        import aiohttp

        until = time.monotonic() + target.within.total_seconds()
        pause, attempts = self._first_pause, 0
        while True:
            attempts += 1
            try:
                status, asked = await self._attempt(target, post)
            except _Refused as error:
                raise ActionError(f"{name} could not be told: it answers {error}") from None
            except (aiohttp.ClientError, OSError, ValueError) as error:
                # Their texts may hold the address.
                why, asked = _kind(error), 0.0
            else:
                if status < 400:
                    times = f", attempt {attempts}" if attempts > 1 else ""
                    return f"told {name} (HTTP {status}{times})"  # `_TOLD` reads it back
                why = f"HTTP {status}"
            wait = max(asked, pause * random.uniform(0.5, 1.0))
            if time.monotonic() + wait > until:
                raise ActionError(f"{name} could not be told in {attempts} attempts: {why}")
            log.debug("escalation to %s: %s; again in %.1f s", name, why, wait)
            await asyncio.sleep(wait)
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _attempt(self, target: Target, post: Post) -> tuple[int, float]:
        """The answer's status, and how many seconds it asks to wait."""
        import aiohttp

        if self._http is None:
            self._http = aiohttp.ClientSession()
        timeout = aiohttp.ClientTimeout(total=target.timeout.total_seconds())
        async with self._http.post(
            _endpoint(target, self._environment),
            data=post.body,
            headers=post.headers | self._credentials(target, post),
            timeout=timeout,
            allow_redirects=False,  # what is signed goes to whom the policy names, only
        ) as answer:
            await answer.content.read(_LONGEST_ANSWER)
            if 300 <= answer.status < 500 and answer.status not in _AGAIN:
                raise _Refused(f"HTTP {answer.status}")
            return answer.status, _seconds(answer.headers.get("Retry-After"))

    def _post(self, target: Target, decision: Decision) -> Post:
        said = notice(
            decision,
            host=socket.gethostname(),
            objective=self._supervision.objective,
            quotes=target.quotes,
        )
        form = {
            "webhook": said,
            "alertmanager": alert(said, datetime.now(UTC)),
            "slack": slack_message(said),
        }[target.way]
        headers = {"Content-Type": "application/json", "Idempotency-Key": said["dedup_key"]}
        # What quotes an agent may hold half a character.
        body = msgspec.json.encode(msgspec.to_builtins(form, str_keys=True))
        return Post(redactor().json(body), headers)

    def _credentials(self, target: Target, post: Post) -> dict[str, str]:
        headers = {}
        if target.secret_env is not None:
            now = int(time.time())
            secret = self._environment[target.secret_env]
            headers["Lucid-Timestamp"] = str(now)
            headers["Lucid-Signature"] = signature(secret, now, post.body)
        if target.token_env is not None:
            headers["Authorization"] = f"Bearer {self._environment[target.token_env]}"
        return headers


def _told(name: str, task: asyncio.Task[str] | None) -> str | ActionError:
    """What is known of a post."""
    if task is None:
        return f"{name} was told of this before"
    if not task.done():
        return f"{name} is being told"
    if task.cancelled():
        return ActionError(f"{name} could not be told before the session ended")
    error = task.exception()
    return ActionError(str(error)) if error is not None else task.result()


def _endpoint(target: Target, environment: Mapping[str, str]) -> str:
    address = target.address(environment)
    if target.way != "alertmanager":
        return address
    parts = urlsplit(address)
    path = parts.path.rstrip("/")
    return urlunsplit(parts._replace(path=path if path.endswith(_ALERTS) else path + _ALERTS))


def _seconds(asked: str | None) -> float:
    """`Retry-After` in seconds; its other form, a date, is left to our own pauses."""
    return float(asked) if asked is not None and asked.isascii() and asked.isdigit() else 0.0


def _kind(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    return f"no connection ({type(error).__name__})"
