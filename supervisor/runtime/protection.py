"""`Protection`: no tool call runs unless it was written down, or the policy lets it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

from supervisor.core.duration import duration_text
from supervisor.core.intent import Intent
from supervisor.errors import LeaseLost, StoreError
from supervisor.metrics import METRICS
from supervisor.policy.model import StoreAbsence, WhenAway
from supervisor.runtime.supervision import Supervision
from supervisor.store.spool import SpooledStore, SpoolListener

__all__ = ["Protection", "StoreNews"]

log = logging.getLogger(__name__)

RETRY_SECONDS = 2.0
"""Between two attempts to write an intent that the store refuses though it is there."""


class Protection:
    """Sees to it that a tool call's intent is in the store before the call runs."""

    def __init__(self, supervision: Supervision, store: SpooledStore | None = None) -> None:
        self._supervision = supervision
        self._store = store
        self._absence = supervision.policy.store

    @property
    def longest_pause(self) -> timedelta:
        """How long a call waits at most."""
        return self._absence.pause_at_most

    async def covers(self, intent: Intent) -> bool:
        """Write the intent down; returns whether the call may run. Raises `LeaseLost`."""
        try:
            await self._supervision.intend(intent)
        except LeaseLost:
            raise
        except StoreError as error:
            log.error("session %s: intent not written: %s", intent.session_id, error)
        else:
            if self._store is None or not self._store.away:
                return True
        if self._absence.when_away is WhenAway.PAUSE:
            return False
        METRICS.unprotected_calls.inc()
        return True

    async def wait(self, since: float) -> bool:
        """Wait until it is worth another attempt, but not beyond the longest pause, which
        began at `since` by the monotonic clock; returns whether it is."""
        left = since + self.longest_pause.total_seconds() - time.monotonic()
        if left <= 0:
            return False
        if self._store is not None and self._store.away:
            return await self._store.back(left)
        await asyncio.sleep(min(RETRY_SECONDS, left))
        return True

    async def refusal(self, intent: Intent) -> str:
        """Why a call that has waited for too long is not run; for the model and, as an
        incident, for the operator."""
        paused = duration_text(self.longest_pause)
        await self._supervision.note(
            "store",
            f"the store could not be written for {paused}, so the call {intent.call_id} of "
            f"{intent.tool} was denied",
        )
        return (
            f"Not run: what this agent does must be written down first, and for {paused} that "
            "could not be done. The call itself is in order, and trying again at once will not "
            "help. Say that the operator must look at the supervisor's store, and end your turn."
        )


class StoreNews(SpoolListener):
    """What becomes of one session's store, for the session's stream and for Prometheus."""

    def __init__(
        self,
        absence: StoreAbsence,
        *,
        note: Callable[[str], Awaitable[None]],
        on_lost: Callable[[LeaseLost], None],
    ) -> None:
        """`note` records an incident of the session; `on_lost` hears that another worker has
        it."""
        self._absence = absence
        self._note = note
        self._on_lost = on_lost
        self._noting: set[asyncio.Future[None]] = set()

    def went_away(self, error: StoreError) -> None:
        METRICS.store_away.inc()
        METRICS.store_errors.labels("write").inc()
        if self._absence.when_away is WhenAway.PAUSE:
            longest = duration_text(self._absence.pause_at_most)
            meanwhile = f"tool calls wait for it, at most {longest}"
        else:
            meanwhile = "tool calls run without being written down in it first"
        self._say(f"{error}. What is written waits on local disk, and {meanwhile}")

    def waits(self, change: int) -> None:
        METRICS.spooled_operations.inc(change)

    def came_back(self, after: timedelta, operations: int) -> None:
        METRICS.store_away.dec()
        seconds = after.total_seconds()
        self._say(f"the store is back after {seconds:.1f} s; {operations} operations had waited")

    def left(self) -> None:
        METRICS.store_away.dec()

    def lost(self, error: LeaseLost, where: Path | None) -> None:
        self._on_lost(error)

    def refused(self, session_id: str, message: str) -> None:
        self._say(message)

    def _say(self, message: str) -> None:
        task = asyncio.ensure_future(self._note(message))
        self._noting.add(task)
        task.add_done_callback(self._noting.discard)
