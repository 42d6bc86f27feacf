"""`Driver`: follows an agent from process to process, message by message."""

from __future__ import annotations

import asyncio
from dataclasses import asdict

from claude_agent_sdk import (
    ClaudeSDKClient,
    Message,
    MirrorErrorMessage,
    ProcessError,
    RateLimitEvent,
    ResultError,
    ResultMessage,
    SystemMessage,
    ToolResultBlock,
    UserMessage,
)

from supervisor.core.session import SessionState
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.outages import Outages
from supervisor.runtime.passage import Passage
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.supervision import Supervision
from supervisor.runtime.takeover import Takeovers
from supervisor.runtime.turn import Turn
from supervisor.runtime.watchdog import Doing, Watchdog

__all__ = ["Driver"]

TICK_SECONDS = 5.0
"""How often the detectors are told the time."""


class Driver:
    """Has what one session's agent says, or fails to say, dealt with where it belongs."""

    def __init__(
        self,
        turn: Turn,
        process: AgentProcess,
        supervision: Supervision,
        boundary: Boundary,
        passage: Passage,
        takeovers: Takeovers,
        outages: Outages,
    ) -> None:
        self._turn = turn
        self._process = process
        self._supervision = supervision
        self._boundary = boundary
        self._passage = passage
        self._takeovers = takeovers
        self._outages = outages
        self._tasks: list[asyncio.Task[None]] = []
        self._watchdog = Watchdog(
            supervision.policy.limits.silence, doing=self._doing, on_silent=outages.fell_silent
        )

    def heard(self) -> None:
        """The agent is not silent: it has just been asked."""
        self._watchdog.heard()

    def start(self) -> None:
        """Follow the agent until its last message, or `stop`."""
        works = [self._drive(), self._tell_the_time()]
        if self._outages.answered:
            works.append(self._watchdog.watch())
        self._tasks = [asyncio.create_task(work) for work in works]

    async def stop(self) -> None:
        """Follow it no further."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drive(self) -> None:
        try:
            while await self._follow_on():
                continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            if self._turn.is_open and not self._turn.is_stopped:
                self._turn.stand(SessionState.BROKEN, str(error).split("\n")[0])
            self._turn.is_open = False
            self._turn.let_go("the agent's process failed")
            self._passage.end(error)
        else:
            self._turn.let_go("the agent's process ended")
            if not self._turn.is_drained:
                self._passage.end()

    async def _follow_on(self) -> bool:
        """Follow one process to its end; returns whether another follows."""
        client = self._process.client
        ended: Exception | None = None
        try:
            if await self._follow(client):
                return True
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            ended = error
        if client is not self._process.client:
            return True
        if self._turn.is_drained:
            return False
        if self._turn.is_open and not self._process.is_callers:
            ended = await self._outages.ride_out_end(ended)
            if ended is None:
                return True
        if ended is not None:
            raise _as_the_sdk_raises(ended, self._turn.failed)
        return False

    async def _follow(self, client: ClaudeSDKClient) -> bool:
        """Follow one process's messages; returns whether another process follows."""
        self._turn.subagents.clear()
        async for message in client.receive_messages():
            self._watchdog.heard()
            if isinstance(message, ResultMessage):
                await self._part_ended(message)
                if client is not self._process.client:
                    return True
                continue
            await self._note(message)
            await self._passage.pass_on(message, taken_over=self._takeovers.is_under_way)
        return False

    async def _note(self, message: Message) -> None:
        match message:
            case UserMessage(content=list() as blocks):
                # A call that is denied, or fails before it runs, has no hook after it.
                for block in blocks:
                    if isinstance(block, ToolResultBlock):
                        self._boundary.ended(block.tool_use_id)
            case RateLimitEvent(rate_limit_info=info):
                self._outages.rate_limit = info
            case MirrorErrorMessage():
                await self._supervision.note("store", "the SDK gave up mirroring some entries")
            case SystemMessage(subtype="api_retry", data=announced):
                await self._outages.heard_of_retry(announced)
            case SystemMessage(subtype="task_started", data={"task_type": "local_agent"} as task):
                self._turn.subagents.add(str(task.get("task_id")))
            case SystemMessage(subtype="task_notification", data=task):
                self._turn.subagents.discard(str(task.get("task_id")))

    async def _part_ended(self, result: ResultMessage) -> None:
        await self._supervision.settled()
        if await self._takeovers.carried_out_on(result):
            return
        turn = self._turn
        turn.failed = result if result.is_error else None
        turn.ledger.absorb(result)
        self._supervision.bearings.cost_usd = turn.ledger.cost_usd
        if self._outages.is_aside(result):
            return
        if await self._outages.ride_out_result(result) or turn.is_drained:
            return
        # What is decided on the last entry begins, a rung behind one that failed too.
        await self._takeovers.claimed()
        if not result.is_error and await self._takeovers.carried_out_after_the_end():
            return
        turn.ledger.give_back(result)
        await turn.end(result)

    def _doing(self) -> Doing:
        if not self._turn.is_open or self._outages.now is not None or self._boundary.is_holding:
            return "nothing"
        return "tool" if self._boundary.is_running else "model"

    async def _tell_the_time(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self._turn.is_open and self._outages.now is None:
                await self._supervision.tick()


def _as_the_sdk_raises(error: Exception, failed: ResultMessage | None) -> Exception:
    """The end of a process whose turn failed, as the SDK raises it. It does not know that
    what the CLI says of a prompt with a uuid comes after its result (SDK 0.2.187)."""
    if failed is None or type(error) is not ProcessError:
        return error
    said = "; ".join(failed.errors or ()) or failed.result or failed.subtype
    return ResultError(
        f"Claude Code returned an error result: {said}", asdict(failed), error.exit_code
    )
