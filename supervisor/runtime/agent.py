"""`SupervisedAgent`: one agent on the Claude Agent SDK, driven and steered.

It is what a caller talks to: `connect`, `query`, `go_on`, `drain`, `disconnect`. The work
is done by its parts:

- `Turn`: what the caller asked for, from the prompt to its one result.
- `Driver`: follows the SDK's messages from process to process.
- `Passage`: passes them on as one stream.
- `Actions`: runs what was decided; `Control` is what an action can do to the agent.
- `Takeovers`: an action ends the agent's turn and begins another part of it.
- `Outages`: the infrastructure ended a part of the turn, and the policy has it go on.
- `Continuation`, `Steering`: how it goes on, and in which process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable
from contextlib import suppress
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

from supervisor.core.action import Capability
from supervisor.core.decision import Decision
from supervisor.core.interruption import Failure, GoOn, Interruption
from supervisor.core.session import SessionState
from supervisor.errors import Drained, SupervisorError
from supervisor.runtime.actions import Actions
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.changes import Changes
from supervisor.runtime.continuation import Continuation
from supervisor.runtime.control import Control
from supervisor.runtime.driver import Driver
from supervisor.runtime.escalation import Escalations
from supervisor.runtime.feed import Feed, user_message
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.runtime.keeper import disconnected
from supervisor.runtime.opening import DRAINED
from supervisor.runtime.outages import Outages, Recover
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.passage import Passage
from supervisor.runtime.process import AgentProcess, patience
from supervisor.runtime.steering import Fork, Steering
from supervisor.runtime.supervision import Supervision
from supervisor.runtime.takeover import Takeovers
from supervisor.runtime.turn import Turn

__all__ = ["SupervisedAgent"]

LEAVING_SECONDS = 3.0
"""How long an agent that is left in the midst of a turn may take to stop by itself."""

FLUSHING_SECONDS = 3.0
"""What of a drain's time is kept for ending the process and writing down its last words."""

Prompts = AsyncIterable[dict[str, Any]]


class SupervisedAgent:
    """Drives one session's agent; see the module. Lives in one event loop."""

    def __init__(
        self,
        *,
        session_id: str,
        process: AgentProcess,
        supervision: Supervision,
        boundary: Boundary,
        files: FileKeeping,
        outbox: Outbox,
        escalations: Escalations,
        fork: Fork,
        recover: Recover,
    ) -> None:
        """`session_id` is the one that the caller sees."""
        self._session_id = session_id
        self._process = process
        self._supervision = supervision
        self._boundary = boundary
        self._files = files
        self._escalations = escalations
        self._passage = passage = Passage(outbox, process, session_id)
        self._actions = actions = Actions(supervision)
        self._turn = turn = Turn(process, supervision, boundary, actions, passage)
        steering = Steering(process, supervision, files, turn.ledger, passage, fork)
        takeovers = Takeovers(turn, process, boundary, steering, actions)
        self._continuation = continuation = Continuation(supervision, steering)
        self._outages = outages = Outages(
            turn, process, supervision, boundary, actions, continuation, recover
        )
        self._driver = Driver(turn, process, supervision, boundary, passage, takeovers, outages)
        self._control = Control(
            process,
            supervision,
            boundary,
            takeovers,
            outages,
            escalations,
            Changes(process, supervision, steering),
            actions,
        )
        self._ending_feed: asyncio.Task[None] | None = None

    @property
    def state(self) -> SessionState:
        """How the session stands."""
        return self._turn.state

    @property
    def state_reason(self) -> str:
        """Why it stands so; may be empty."""
        return self._turn.state_reason

    @property
    def inner(self) -> ClaudeSDKClient:
        """The SDK client of the process the agent is in now."""
        return self._process.client

    @property
    def options(self) -> ClaudeAgentOptions:
        """What the agent's next process starts with."""
        return self._process.options

    @options.setter
    def options(self, options: ClaudeAgentOptions) -> None:
        """Change what the next process starts with."""
        self._process.options = options

    # What the caller does.

    async def connect(self, prompt: str | Prompts | None) -> None:
        """Start the agent, as `ClaudeSDKClient.connect` does."""
        feed = None
        if isinstance(prompt, AsyncIterable):
            feed = Feed(prompt, self._begin_turn, self._supervision.asks)
        await self._process.begin(feed)
        if feed is not None:
            self._ending_feed = asyncio.create_task(self._end_when_exhausted(feed))
        elif isinstance(prompt, str):
            self._begin_turn()
            await self._process.send(await self._supervision.asks(_from_caller(prompt)))
        self._driver.start()
        self._boundary.listening.start()

    async def query(self, prompt: str | Prompts, session_id: str) -> None:
        """Send a prompt, as `ClaudeSDKClient.query` does."""
        if isinstance(prompt, str):
            await self._send(_from_caller(prompt, session_id), session_id)
            return
        async for message in prompt:
            await self._send(message, session_id)

    async def go_on(
        self,
        failure: Failure | None,
        transcript: str,
        *,
        insist: bool,
        restore_files: bool | None,
    ) -> Interruption:
        """Go on with the last turn of `transcript`, which another process left behind: see
        `SupervisedClient.go_on`."""
        async with self._turn.switching:
            self._continuation.postscript = await self._files.on_resume(restore_files)
            self._begin_turn()
            goes_on = await self._outages.ride_out(failure, transcript, insist=insist)
        interruption = self._outages.newest.interruption if self._outages.newest else None
        if goes_on and interruption is not None:
            return interruption
        if self._turn.is_drained:
            raise Drained(f"session {self._session_id} was drained before it went on")
        reason = self._outages.why_not()
        paused = interruption is not None and interruption.go_on is GoOn.PAUSE
        await self._turn.break_off(SessionState.CLOSED if paused else SessionState.BROKEN, reason)
        if interruption is None or interruption.retryable:
            raise SupervisorError(f"session {self._session_id} cannot be gone on with: {reason}")
        return interruption

    async def drain(self, within: float) -> None:
        """Let go of the session in good order, in at most `within` seconds: see
        `SupervisedClient.drain`."""
        turn = self._turn
        if turn.is_open and self._outages.now is None:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, within - FLUSHING_SECONDS)):
                    await self._standstill()
        if not turn.is_open:
            return
        turn.is_drained = True
        turn.stand(SessionState.RUNNING, f"{DRAINED}: its worker was told to stop")
        turn.let_go("the worker was told to stop")
        self._actions.cancel()
        grace = patience(amid_call=self._boundary.is_running)
        await self._process.end(grace=min(FLUSHING_SECONDS / 2, grace))
        await self._supervision.settled()
        turn.is_open = False
        told = f"session {self._session_id} was drained; `lucid resume {self._session_id}` goes on"
        self._passage.end(Drained(told))

    async def disconnect(self) -> None:
        """Stop the agent, as `ClaudeSDKClient.disconnect` does.

        One in the midst of a turn is interrupted first: left to itself, the CLI works on
        for five seconds after its input has ended, and nobody supervises or records it.
        """
        turn = self._turn
        turn_was_open, turn.is_open = turn.is_open, False
        await self._put_down_work()
        if turn_was_open:
            with suppress(Exception):  # the SDK raises bare Exception; it may be gone, too
                async with asyncio.timeout(LEAVING_SECONDS):
                    await self.inner.interrupt()
        await disconnected(self.inner)
        await self._files.close()
        if turn.is_drained:
            await self._supervision.leave()
        else:
            if turn.state is SessionState.RUNNING:
                turn.stand(SessionState.CLOSED)
            await self._supervision.finish()
        await self._actions.settled()
        await self._escalations.close()
        await self._supervision.conclude(turn.state, turn.state_reason)

    async def lose(self, error: Exception) -> None:
        """Another worker has the session: end the agent at once, and tell the caller."""
        self._turn.stand(SessionState.BROKEN, str(error))
        self._turn.is_open = False
        self._passage.end(error)
        self._turn.let_go(str(error))
        await self._process.kill(grace=0.0)

    # What the supervision decides.

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        """What can be done to an agent now."""
        return self._control.capabilities(agent_id)

    def act(self, decision: Decision) -> None:
        """Start a decision's action."""
        self._actions.start(decision, self._control)

    def _begin_turn(self) -> None:
        self._turn.begin()
        self._files.turn_began()
        self._driver.heard()

    async def _send(self, message: dict[str, Any], session_id: str) -> None:
        if self._turn.is_stopped:
            waits = self._turn.state is SessionState.PAUSED
            stopped = "paused this session until a person says how to go on" if waits else "stopped"
            raise SupervisorError(
                f"the policy {stopped}: {self.state_reason}. Resume it in a new client to go on."
            )
        async with self._turn.switching:
            self._begin_turn()
            await self._process.send(await self._supervision.asks(message), session_id)

    async def _end_when_exhausted(self, feed: Feed) -> None:
        await feed.exhausted.wait()
        if not self._turn.is_open:
            await feed.end()

    async def _standstill(self) -> None:
        """Return once the agent stands at a tool boundary, or its turn is over."""
        waits = [
            asyncio.create_task(self._boundary.drain()),
            asyncio.create_task(self._turn.over()),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    async def _put_down_work(self) -> None:
        if self._ending_feed is not None:
            self._ending_feed.cancel()
        self._actions.cancel()
        await self._driver.stop()
        await self._boundary.listening.stop()
        await self._actions.settled()
        if self._process.feed is not None:
            await self._process.feed.close()


def _from_caller(prompt: str, session_id: str = "default") -> dict[str, Any]:
    return {**user_message(prompt), "session_id": session_id}
