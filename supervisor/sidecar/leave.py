"""`Leave`: what an agent is told that asks to end its turn.

The policy's checks may take longer than the CLI waits for a hook. Then the agent is kept at
work, with nothing to do but to ask again, until the check is done: a check that is under way
is joined, never begun twice.
"""

from __future__ import annotations

import asyncio
from typing import cast

from claude_agent_sdk import HookContext, HookInput, HookJSONOutput

from supervisor.core.feedback import addressed
from supervisor.runtime.stopping import Stopping, goes_on_by_itself
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.gate import Answer, Gate, ending
from supervisor.sidecar.hook import Hook
from supervisor.sidecar.turns import Turns

__all__ = ["MOST_HOLDS", "Leave"]

MOST_HOLDS = 6
"""How often in a row an agent is kept waiting for a check that is not done. The CLI lets an
agent go at the ninth refusal in a row (CLAUDE_CODE_STOP_HOOK_BLOCK_CAP, 8 on 2.1.330): two
are left for what the check finds."""

_STILL_CHECKED = addressed(
    "You may not end your turn yet: your work is being checked, and the check is not done. Do "
    "nothing meanwhile, change nothing, call no tool. Just end your turn again: you will be "
    "told what was found."
)
_NOBODY: HookContext = {"signal": None}


class Leave:
    """The stops of one session's main agent."""

    def __init__(
        self, supervision: Supervision, gate: Gate, stopping: Stopping, turns: Turns
    ) -> None:
        self._supervision = supervision
        self._gate = gate
        self._stopping = stopping
        self._turns = turns
        self._check: asyncio.Task[HookJSONOutput] | None = None
        self._holds = 0

    async def asked(self, hook: Hook, within: float) -> Answer:
        """Answer in so many seconds; empty: the turn may end, and is over."""
        if self._check is None and (text := self._gate.at_stop()) is not None:
            return _refused(text)
        check = self._check = self._check or asyncio.create_task(self._checked(hook))
        await asyncio.wait({check}, timeout=max(0.0, within))
        if not check.done():
            return await self._held()
        self._check, self._holds = None, 0
        answer = cast("Answer", check.result())
        if answer or goes_on_by_itself(_as_the_sdk_has_it(hook)):
            return answer
        self._turns.end()
        return ending(self._turns.leaves[1]) if self._turns.leaves else {}

    async def close(self) -> None:
        """Nobody waits for a check any more."""
        if self._check is not None:
            self._check.cancel()
            await asyncio.gather(self._check, return_exceptions=True)

    async def _checked(self, hook: Hook) -> HookJSONOutput:
        return await self._stopping.asked(_as_the_sdk_has_it(hook), None, _NOBODY)

    async def _held(self) -> Answer:
        self._holds += 1
        if self._holds <= MOST_HOLDS:
            return _refused(_STILL_CHECKED)
        self._check, self._holds = None, 0
        self._stopping.let_go()  # what is found is recorded, though nobody is told
        self._turns.end()
        await self._supervision.note(
            "hooks",
            f"the check at the agent's stop was not done when it had asked {MOST_HOLDS + 1} "
            "times: its turn ended unchecked. Give the Stop hook a longer time-out "
            "(lucid hooks install --stop-timeout)",
        )
        return {}


def _refused(text: str) -> Answer:
    return {"decision": "block", "reason": text}


def _as_the_sdk_has_it(hook: Hook) -> HookInput:
    given = {
        "hook_event_name": hook.event,
        "session_id": hook.session_id,
        "last_assistant_message": hook.last_assistant_message,
        "background_tasks": [{"type": task.type} for task in hook.background_tasks or ()],
    }
    return cast("HookInput", given)
