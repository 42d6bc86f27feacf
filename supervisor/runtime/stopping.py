"""`Stopping`: between an agent's wish to end its turn and the end of it.

Through the SDK's `Stop` hook, which the agent waits for. The policy decides; the actions it
chooses run while the agent waits, and one of them may keep it at work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import cast

from claude_agent_sdk import HookContext, HookInput, HookJSONOutput

from supervisor.core.action import ActionResult
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import OutcomeStatus
from supervisor.errors import ActionError
from supervisor.runtime.listening import Listening
from supervisor.runtime.stops import decides_on_stops
from supervisor.runtime.supervision import Supervision

__all__ = ["STOP_SECONDS", "Stopping", "goes_on_by_itself"]

STOP_SECONDS = 7 * 24 * 3600.0
"""How long the agent waits at its stop, longer than all the checks of a ladder may take. The
CLI counts milliseconds in 31 bits: 24 days."""

CATCH_UP_SECONDS = 2.0
"""How long the transcript may take to hold what the agent said last. The mirror runs about
0.1 s behind (measured on CLI 2.1.330)."""

_GO_ON_BY_THEMSELVES = frozenset({"subagent", "workflow"})
"""Background work whose end wakes the agent: its turn does not end here."""


class Stopping:
    """The stops of one session's main agent."""

    def __init__(self, supervision: Supervision, listening: Listening) -> None:
        """What somebody says through `listening` is heard before the agent stops."""
        self._supervision = supervision
        self._listening = listening
        self._refusal: str | None = None
        self._leave = asyncio.Event()
        self.is_open = False
        """Whether the agent waits for leave to end its turn."""

    def refuse(self, text: str) -> None:
        """Keep it at work, with this text. Raises `ActionError` where it does not wait."""
        if not self.is_open:
            raise ActionError("the agent is not about to end its turn")
        self._refusal = text

    def let_go(self) -> None:
        """Let the turn end, whatever action is still to come: it needs the end."""
        self._leave.set()

    async def asked(
        self, hook: HookInput, call_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        """The agent wants to end its turn: the `Stop` hook."""
        if goes_on_by_itself(hook):
            return {}
        if (word := self._listening.take()) is not None:
            return {"decision": "block", "reason": word}
        self.is_open = True
        try:
            said = hook.get("last_assistant_message")
            refusal = await self._decided(
                hook["session_id"],
                said if isinstance(said, str) else "",
                anew=hook.get("stop_hook_active") is True,
            )
        finally:
            self.is_open = False
        return {} if refusal is None else {"decision": "block", "reason": refusal}

    async def _decided(self, transcript: str, said: str, *, anew: bool) -> str | None:
        """What keeps the agent at work; None lets it stop."""
        if not decides_on_stops(self._supervision.policy):
            return None
        self._leave.clear()
        await self._supervision.progress.heard(said, CATCH_UP_SECONDS, anew=anew)
        while True:
            self._refusal = None
            decision = await self._supervision.stopping(transcript, said)
            if decision is None or decision.choice is not Choice.ACT:
                return None
            result = await self._result(decision)
            if self._refusal is not None:
                return self._refusal
            if not _goes_down_the_ladder(result):
                return None

    async def _result(self, decision: Decision) -> ActionResult | None:
        """What the action did; None where it is not done yet and waits for the turn's end."""
        ends = {
            asyncio.create_task(self._supervision.result_of(decision)),
            asyncio.create_task(self._leave.wait()),
        }
        try:
            done, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
        results = [task.result() for task in done]
        return next((one for one in results if isinstance(one, ActionResult)), None)


def _goes_down_the_ladder(result: ActionResult | None) -> bool:
    """Whether the stop is still to be decided: what was done failed, or stops nobody."""
    return result is not None and (result.status is OutcomeStatus.FAILED or result.at_once)


def goes_on_by_itself(hook: HookInput) -> bool:
    """Whether the turn of an agent that posts its `Stop` hook does not end here."""
    tasks = cast("Iterable[Mapping[str, object]]", hook.get("background_tasks") or ())
    return any(task.get("type") in _GO_ON_BY_THEMSELVES for task in tasks)
