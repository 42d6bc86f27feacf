"""`Journal`: what is written down of a session, under its lease."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.word import Heard
from supervisor.errors import LeaseLost, StoreError
from supervisor.runtime.account import Account, Event, store_asked
from supervisor.runtime.judge import Trouble
from supervisor.store.interface import Incident, Store
from supervisor.telemetry.export import session_telemetry

if TYPE_CHECKING:
    from supervisor.telemetry.session import SessionTelemetry

__all__ = ["Journal"]

log = logging.getLogger(__name__)


class Journal:
    """One session's. A store that fails is loud, and stops no agent."""

    def __init__(
        self,
        session_id: str,
        store: Store,
        *,
        tell: Callable[[Event], None],
        lease: Callable[[], Lease | None],
        now: Callable[[], datetime],
    ) -> None:
        self.account = Account()
        """What is on record, counted."""
        self._session_id = session_id
        self._store = store
        self._tell = tell
        self._lease = lease
        self._now = now
        self._telemetry: SessionTelemetry | None = None

    def began(self) -> None:
        """This process supervises the session from now on."""
        self.account.began()
        self._telemetry = session_telemetry(self._session_id)

    def ended(self) -> None:
        """It does no more. Once more does no harm."""
        self.account.ended()
        telemetry, self._telemetry = self._telemetry, None
        if telemetry is not None:
            telemetry.end()

    async def intent(self, intent: Intent) -> None:
        """Write a tool call's intent down. Raises `StoreError`: the call is not to run then."""
        with store_asked("record"):
            await self._store.record(intent, lease=self._lease())

    async def prompt(self, prompt: SentPrompt) -> None:
        """Write a prompt down."""
        await self._kept(self._store.record(prompt, lease=self._lease()))

    async def heard(self, words: Sequence[Heard]) -> None:
        """Write down which words the agent got."""
        await self._kept(self._store.record(*words, lease=self._lease()))

    async def objective(self, objective: str) -> None:
        """Write down what the session is for."""
        await self._kept(
            self._store.update_session(self._session_id, objective=objective, lease=self._lease())
        )

    async def state(self, state: SessionState, reason: str) -> None:
        """Write down how the session stands."""
        self.account.stands(state)
        await self._kept(
            self._store.update_session(
                self._session_id, state=state, state_reason=reason, lease=self._lease()
            )
        )

    async def head(self, sdk_session_id: str) -> None:
        """Write down in which transcript the session's work goes on."""
        await self._kept(
            self._store.update_session(self._session_id, head=sdk_session_id, lease=self._lease())
        )

    async def policy(self, policy: str) -> None:
        """Write down by which policy, in JSON, is decided from now on."""
        await self._kept(
            self._store.update_session(self._session_id, policy=policy, lease=self._lease())
        )

    async def events(self, events: Sequence[Event]) -> bool:
        """Write events down, count and tell them; returns whether they are on record."""
        if not await self._kept(self._store.record(*events, lease=self._lease())):
            return False
        for event in events:
            self.account.event(event)
            if self._telemetry is not None:
                self._telemetry.tell(event)
            self._tell(event)
        return True

    async def report(self, troubles: Sequence[Trouble]) -> None:
        """Write incidents down, one by one, and log them."""
        for trouble in troubles:
            place = f"entry {trouble.seq}" if trouble.seq is not None else ""
            self.account.trouble(trouble.source)
            log.warning("session %s: %s, %s", self._session_id, trouble.source, place)
            incident = Incident(
                session_id=self._session_id,
                seq=trouble.seq,
                at=self._now(),
                source=trouble.source,
                place=place,
                message=trouble.message,
            )
            await self.events([incident])

    async def _kept(self, writing: Awaitable[None]) -> bool:
        try:
            with store_asked("record"):
                await writing
        except LeaseLost as error:  # another process has the session: that one keeps its records
            log.warning("session %s: %s", self._session_id, error)
            return False
        except StoreError as error:
            log.error("session %s: %s", self._session_id, error)
            self.account.trouble("store")
            return False
        return True
