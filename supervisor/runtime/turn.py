"""`Turn`: the agent's turn as the caller sees it, from the prompt to its one result.

It may take several parts of the SDK's, and several processes. It also holds how the
session stands, which is a matter of how its last turn ended.
"""

from __future__ import annotations

import asyncio

from claude_agent_sdk import ResultMessage

from supervisor.core.session import SessionState
from supervisor.errors import ActionError
from supervisor.runtime.actions import Actions, Forestalled
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.ledger import Ledger
from supervisor.runtime.passage import Passage
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.supervision import Supervision

__all__ = ["Turn"]


class Turn:
    """One turn after another, of one session."""

    def __init__(
        self,
        process: AgentProcess,
        supervision: Supervision,
        boundary: Boundary,
        actions: Actions,
        passage: Passage,
    ) -> None:
        self.state = SessionState.RUNNING
        """How the session stands."""
        self.state_reason = ""
        self.is_open = False
        self.is_drained = False
        """Its worker lets go of it: nothing more is begun in it."""
        self.failed: ResultMessage | None = None
        """The result of its last part, where that is an error."""
        self.subagents: set[str] = set()
        """The tasks of those that are at work in the agent's process."""
        self.ledger = Ledger()
        self.switching = asyncio.Lock()
        """Held while it passes from one part to the next."""
        self._process = process
        self._supervision = supervision
        self._boundary = boundary
        self._actions = actions
        self._passage = passage
        self._claim: asyncio.Future[None] | None = None
        self._over = asyncio.Event()

    @property
    def is_stopped(self) -> bool:
        """Whether the policy ended it: for good, or until a person says how to go on."""
        return self.state in (SessionState.ABORTED, SessionState.PAUSED)

    def begin(self) -> None:
        """Somebody asks for something."""
        self.is_open = True
        self.failed = None
        self._over.clear()
        self._supervision.turn_began()
        self.stand(SessionState.RUNNING)

    def stand(self, state: SessionState, reason: str = "") -> None:
        """Say how the session stands, and why."""
        self.state, self.state_reason = state, reason

    def stop(self, reason: str, state: SessionState = SessionState.ABORTED) -> None:
        """The policy ends it, and leaves the session so."""
        self.stand(state, reason)

    def claim(self) -> asyncio.Future[None]:
        """Have the turn for an action that ends it, until `release`; what is returned is
        done once that is settled. Raises `Forestalled` where the turn is over, `ActionError`
        where another action has it."""
        if not self.is_open:
            raise Forestalled("the turn ended first")
        if self._claim is not None:
            raise ActionError("another action is taking the turn over")
        self._claim = asyncio.get_running_loop().create_future()
        return self._claim

    def release(self) -> None:
        """The action is done with the turn."""
        self._claim = None

    def let_go(self, reason: str) -> None:
        """What happened to the turn came before the action that claims it, if one does."""
        if self._claim is not None and not self._claim.done():
            self._claim.set_exception(Forestalled(reason))

    async def end(self, result: ResultMessage) -> None:
        """The agent yielded: settle what is open, and give the caller the one result."""
        self.is_open = False
        self.let_go("the turn ended first")
        await self._actions.settled()
        for decision in self._boundary.withdraw_context():
            await self._supervision.action_superseded(
                decision, "the turn ended before the agent called a tool"
            )
        await self._supervision.turn_ended("the session was stopped" if self.is_stopped else None)
        if not self._supervision.seq:
            await self._supervision.note(
                "ingest", "no transcript entry arrived: this session is not supervised"
            )
        if not self.is_stopped:
            self.stand(*_conclusion(result, self._supervision.why_not_reached))
        if self.subagents and not (result.is_error or self.is_stopped):
            # In the background, and the agent goes on when they report: should its worker
            # die now, the session is not to be taken for one that is over.
            self.stand(SessionState.RUNNING)
        await self._supervision.conclude(self.state, self.state_reason)
        await self._passage.hand_over(self.ledger.whole(result))
        feed = self._process.feed
        if feed is not None and (feed.exhausted.is_set() or self.is_stopped):
            await feed.end()
        self._over.set()

    async def break_off(self, state: SessionState, reason: str) -> None:
        """It ends without a result."""
        self.is_open = False
        if not self.is_stopped:
            self.stand(state, reason)
        await self._supervision.conclude(self.state, self.state_reason)

    async def over(self) -> None:
        """Return once it has ended, and its result is the caller's."""
        await self._over.wait()


def _conclusion(result: ResultMessage, why_not: str) -> tuple[SessionState, str]:
    """How the session stands after the agent's result, as far as Lucid knows."""
    if result.api_error_status is not None or result.terminal_reason == "api_error":
        return SessionState.BROKEN, f"the model's service failed ({result.api_error_status})"
    if result.is_error:
        return SessionState.GAVE_UP, result.terminal_reason or result.subtype
    if why_not:
        return SessionState.GAVE_UP, why_not
    return SessionState.REACHED, ""
