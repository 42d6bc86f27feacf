"""`Takeovers`: an action ends the agent's turn and begins another part of it.

No further tool call starts, running ones may end, the SDK is interrupted, and when its
result arrives the action's own prompt follows, in the same process or in a fork. The
interrupted part's result is kept from the caller, whose turn is still open.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from claude_agent_sdk import ResultMessage

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.feedback import addressed
from supervisor.core.session import SessionState
from supervisor.errors import ActionError
from supervisor.runtime.actions import Actions
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.feed import user_message
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.steering import Steering
from supervisor.runtime.turn import Turn

__all__ = ["Takeover", "Takeovers"]

BEGINNING_SECONDS = 2.0
"""How long a turn that ended, or is halted, waits for an action that was decided on to claim
it."""

TOOL_GRACE_SECONDS = 30.0
"""How long an action waits for running tool calls before it interrupts them."""


_BY_MISTAKE = addressed("You were interrupted by mistake. Go on with the task.")


@dataclass(frozen=True)
class Takeover:
    """What an action wants instead of the rest of the turn."""

    kind: Literal["prompt", "branch", "change", "stop"]
    text: str = ""
    checkpoint: Checkpoint | None = None
    restore_files: bool = False
    leaves: SessionState = SessionState.ABORTED
    """How a stop leaves the session."""
    after_the_end: bool = False
    """It answers how the turn ended, so that the end of the turn does not forestall it."""
    begin: Callable[[], Awaitable[None]] | None = None
    """Begins the next part, where that is not `text` at `checkpoint`."""
    command: str = ""
    """A command of the runtime's that is carried out before the next part begins."""
    grace: float = TOOL_GRACE_SECONDS
    """How long running tool calls may take to end by themselves."""


@dataclass(eq=False)
class _UnderWay:
    takeover: Takeover
    done: asyncio.Future[None]
    interrupted: bool = False
    commanded: bool = False
    """The runtime carries `takeover.command` out."""


class Takeovers:
    """The takeovers of one session's turns; at most one at a time."""

    def __init__(
        self,
        turn: Turn,
        process: AgentProcess,
        boundary: Boundary,
        steering: Steering,
        actions: Actions,
    ) -> None:
        self._turn = turn
        self._process = process
        self._boundary = boundary
        self._steering = steering
        self._actions = actions
        self._now: _UnderWay | None = None
        self._claimed = asyncio.Event()
        self._may_halt = asyncio.Event()
        self._may_halt.set()
        self._let_drop = False

    @property
    def is_under_way(self) -> bool:
        """Whether an action is about to end the turn."""
        return self._now is not None

    async def take_over(self, takeover: Takeover) -> None:
        """Return once the takeover is carried out. Raises `Forestalled` where the turn
        ended first, `ActionError` where it cannot be carried out."""
        now = self._now = _UnderWay(takeover, self._turn.claim())
        self._claimed.set()
        self._let_drop = False
        halting = asyncio.create_task(self._halt(now))
        try:
            await now.done
        finally:
            halting.cancel()
            self._let_drop = now.interrupted and now.done.cancelled()
            self._claimed.clear()
            self._now = None
            self._turn.release()
            self._boundary.reopen()

    async def carry_out_at_once(self, takeover: Takeover) -> None:
        """Carry a takeover out on a turn that is interrupted already. Raises `Forestalled`
        where it has ended since."""
        self._turn.claim()
        self._turn.release()
        if takeover.kind == "stop":
            self._turn.stop(takeover.text, takeover.leaves)
        else:
            await self._begin_part(takeover)

    async def carried_out_on(self, result: ResultMessage) -> bool:
        """Carry out what the turn was interrupted for, if this is how it ended then."""
        now = self._now
        if now is None and self._let_drop and _was_aborted(result):
            self._let_drop = False
            self._turn.ledger.absorb(result)
            await self._steering.say(_BY_MISTAKE)
            return True
        if now is None or now.done.done():
            return False
        if not now.commanded and not (now.interrupted and _was_aborted(result)):
            return False
        if now.takeover.kind == "stop":
            self._turn.stop(now.takeover.text, now.takeover.leaves)
            now.done.set_result(None)
            await self._turn.end(result)
            return True
        self._turn.ledger.absorb(result)
        await self._carry_out(now)
        return True

    async def claimed(self, within: float = BEGINNING_SECONDS) -> None:
        """Return once an action has claimed the turn, or none is under way that may; at
        most so many seconds later."""
        claimed = asyncio.create_task(self._claimed.wait())
        try:
            async with asyncio.timeout(within):
                while not claimed.done() and (running := self._actions.running):
                    await asyncio.wait({claimed, *running}, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            return
        finally:
            claimed.cancel()

    async def carried_out_after_the_end(self) -> bool:
        """Carry out what answers how the turn ended, if anything is to."""
        now = self._now
        if now is None or not now.takeover.after_the_end:
            return False
        await self._carry_out(now)
        return True

    async def _halt(self, now: _UnderWay) -> None:
        if now.takeover.after_the_end:
            return
        await self._may_halt.wait()
        if now.interrupted:
            return
        await self._boundary.close(now.takeover.grace)
        now.interrupted = True
        try:
            await self._process.client.interrupt()
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception here
            if not now.done.done():
                now.done.set_exception(ActionError(f"cannot interrupt the agent: {error}"))

    async def _carry_out(self, first: _UnderWay) -> None:
        async with self._turn.switching:
            following: _UnderWay | None = first
            while following is not None:
                following = await self._carried_out(following)

    async def _carried_out(self, now: _UnderWay) -> _UnderWay | None:
        """Begin the next part of the turn; returns what is to be carried out in its place."""
        try:
            if now.takeover.command and not now.commanded:
                now.commanded = True
                await self._steering.command(user_message(now.takeover.command))
                return None
            await self._begin_part(now.takeover)
        except Exception as error:  # noqa: BLE001 - nothing may leave the agent halted
            return await self._following(now, error)
        if not now.done.done():
            now.done.set_result(None)
        # Let the action finish before the agent's next message is read.
        await self._actions.settled()
        return None

    async def _following(self, failed: _UnderWay, error: Exception) -> _UnderWay | None:
        """The agent stands still for what failed. The ladder's next rung has it as it stands,
        unless that needs it at work; without one, the agent is sent on."""
        self._may_halt.clear()
        try:
            if not failed.done.done():
                failed.done.set_exception(ActionError(str(error)))
            await self._actions.settled()
            await self.claimed()
            now = self._now
            if now is None or now is failed or now.takeover.kind == "stop":
                await self._steering.say(_BY_MISTAKE)
                return None
            now.interrupted = True
            return now
        finally:
            self._may_halt.set()

    async def _begin_part(self, takeover: Takeover) -> None:
        if takeover.begin is not None:
            await takeover.begin()
            return
        if takeover.checkpoint is None:
            await self._steering.say(takeover.text)
            return
        await self._steering.branch(
            takeover.checkpoint, takeover.text, restore_files=takeover.restore_files
        )


def _was_aborted(result: ResultMessage) -> bool:
    if result.terminal_reason is None:
        return result.is_error
    return result.terminal_reason.startswith("aborted")
