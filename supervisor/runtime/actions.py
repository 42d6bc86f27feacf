"""`Actions`: the recovery actions that are under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import timedelta

from supervisor.core.action import ActionResult, AgentControl
from supervisor.core.decision import Decision
from supervisor.core.duration import duration_text
from supervisor.errors import ActionError
from supervisor.runtime import registry
from supervisor.runtime.supervision import Supervision

__all__ = ["Actions", "Forestalled"]


class Forestalled(ActionError):
    """The agent's turn ended before the action had it."""


class Actions:
    """Runs the actions of one session's decisions, and tells the supervision what became
    of them."""

    def __init__(self, supervision: Supervision) -> None:
        self.why_failed = ""
        """Why the last one that failed did."""
        self._supervision = supervision
        self._running: set[asyncio.Task[None]] = set()

    def start(self, decision: Decision, agent: AgentControl) -> None:
        """Start a decision's action on the agent."""
        self._keep(asyncio.create_task(self._perform(decision, agent)))

    @property
    def running(self) -> frozenset[asyncio.Task[None]]:
        """Those that are under way."""
        return frozenset(self._running)

    def note(self, source: str, problem: str) -> None:
        """Record an incident that an action reports; returns at once."""
        self._keep(asyncio.create_task(self._supervision.note(source, problem)))

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def settled(self) -> None:
        """Return once all that are under way have ended."""
        await asyncio.gather(*self._running, return_exceptions=True)

    def cancel(self) -> None:
        """End them all, unaccounted for: whoever resumes the session does that."""
        for task in self._running:
            task.cancel()

    async def _perform(self, decision: Decision, agent: AgentControl) -> None:
        kind = registry.actions()[decision.action or ""]
        try:
            params = kind.Params.model_validate(decision.params)
            result = await _within(kind.time_limit, kind().run(decision, params, agent))
        except Forestalled as error:
            await self._supervision.action_superseded(decision, str(error))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            self.why_failed = str(error)
            await self._supervision.action_failed(decision, error)
        else:
            await self._supervision.carried_out(decision, result)


async def _within(limit: timedelta | None, running: Awaitable[ActionResult]) -> ActionResult:
    deadline = asyncio.timeout(limit.total_seconds() if limit is not None else None)
    try:
        async with deadline:
            return await running
    except TimeoutError as error:
        if limit is None or not deadline.expired():
            raise
        raise ActionError(f"it was not done in {duration_text(limit)}") from error
