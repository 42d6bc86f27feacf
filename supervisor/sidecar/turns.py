"""`Turns`: when the turns of an agent begin and end, as far as its hooks tell."""

from __future__ import annotations

import asyncio
from collections import deque

from supervisor.core.session import SessionState
from supervisor.runtime.actions import Actions
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.gate import Gate

__all__ = ["Turns"]

_REMEMBERED = 64
"""Turns whose late hooks are known as such."""


class Turns:
    """Of one session's main agent."""

    def __init__(self, supervision: Supervision, gate: Gate, actions: Actions) -> None:
        self.at_rest = False
        """Between two turns."""
        self.leaves: tuple[SessionState, str] | None = None
        """How the session stands once the turn is over, and why, if an action says so."""
        self._supervision = supervision
        self._gate = gate
        self._actions = actions
        self._known: deque[str] = deque(maxlen=_REMEMBERED)
        self._ending: asyncio.Task[None] | None = None
        self._hurry = asyncio.Event()

    async def at(self, prompt_id: str) -> None:
        """Something happens in this turn: it begins, unless it is known."""
        if prompt_id in self._known:
            return
        self._known.append(prompt_id)
        if len(self._known) > 1:
            self.end()  # a person interrupted it: no hook says so
            await self.close()
        self.at_rest, self.leaves = False, None
        self._supervision.turn_began(prompt_id)
        await self._supervision.conclude(SessionState.RUNNING)

    def end(self, leaves: tuple[SessionState, str] | None = None) -> None:
        """The turn is over: what was to be done in it is forestalled. How the session stands,
        unless that is given or an action says so, is known once all that is under way has
        ended, a check that takes long among it."""
        if self.at_rest or not self._known:
            return
        self.at_rest = True
        self.leaves = self.leaves or leaves
        unread = self._gate.turn_ended()
        self._hurry.clear()

        async def end() -> None:
            for decision in unread:
                reason = "the turn ended before the agent called a tool"
                await self._supervision.action_superseded(decision, reason)
            await self._settle()

        self._ending = asyncio.create_task(end())

    async def close(self) -> None:
        """Wait no longer for what is under way in a turn that is over."""
        self._hurry.set()
        if self._ending is not None:
            await self._ending

    async def _settle(self) -> None:
        waits = {
            asyncio.create_task(self._actions.settled()),
            asyncio.create_task(self._hurry.wait()),
        }
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        leaves = self.leaves
        await self._supervision.turn_ended(f"the session is {leaves[0]}" if leaves else None)
        await self._supervision.conclude(*(leaves or self._conclusion()))

    def _conclusion(self) -> tuple[SessionState, str]:
        why_not = self._supervision.why_not_reached
        return (SessionState.GAVE_UP, why_not) if why_not else (SessionState.REACHED, "")
