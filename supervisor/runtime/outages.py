"""`Outages`: interrupted turns, from what is seen of them to the agent's next step.

What interrupts a turn is known from outside (a `Failure`), from the transcript and from
the intents. `diagnose` puts these together, the policy decides, its action waits, and
`Continuation` carries out what was concluded. As long as the policy has the turn go on,
the caller, whose turn is still open, hears nothing of it but Lucid's own messages.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from claude_agent_sdk import ClaudeAgentOptions, RateLimitInfo, ResultMessage

from supervisor.core.decision import Choice, Decision
from supervisor.core.interruption import Cause, Failure, FailureKind, GoOn, Interruption, Outage
from supervisor.core.verdict import FailureMode
from supervisor.errors import ActionError, StoreError, SupervisorError
from supervisor.runtime.actions import Actions
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.continuation import Continuation
from supervisor.runtime.diagnosis import failure_of
from supervisor.runtime.process import AgentProcess, patience
from supervisor.runtime.supervision import Supervision
from supervisor.runtime.turn import Turn

__all__ = ["Outages", "announcing_waits"]

LONGEST_RETRY = timedelta(seconds=60)
"""The longest wait between the runtime's own attempts that it is left to; a longer one is
waited out without its process."""

_ANNOUNCED_WAITS = {"CLAUDE_CODE_RETRY_WATCHDOG": "1", "CLAUDE_CODE_MAX_RETRIES": "10"}
"""The first has the CLI say how long it is to wait for its next attempt, where it would give
up at once without a word (a Retry-After of more than 60 s), and try without end; the second
is its default number of attempts, and how we know when to stop it (CLI 2.1.330)."""

Recover = Callable[[str], Awaitable[None]]
"""Takes in what a transcript on this host holds and the store does not."""

_NOT_OUTAGES = frozenset({Cause.LIMIT_REACHED, Cause.INTERRUPTED})
"""Ends of a turn that the caller asked for."""

_ENDED = "the agent's process ended in the midst of its turn"


class Outages:
    """The outages of one session's turns; at most one at a time."""

    def __init__(
        self,
        turn: Turn,
        process: AgentProcess,
        supervision: Supervision,
        boundary: Boundary,
        actions: Actions,
        continuation: Continuation,
        recover: Recover,
    ) -> None:
        self.answered = not process.is_callers and supervision.policy.answers(
            FailureMode.INTERRUPTION
        )
        """Whether anything is done about them."""
        self.newest: Outage | None = None
        self.rate_limit: RateLimitInfo | None = None
        """What the service said last of its limits."""
        self._turn = turn
        self._process = process
        self._supervision = supervision
        self._boundary = boundary
        self._actions = actions
        self._continuation = continuation
        self._recover = recover
        self._is_under_way = False
        self._went_on = False
        self._resumed = False
        self._why_not = ""
        self._failure: Failure | None = None
        self._transcript = ""
        self._mark = ""
        self._began = datetime.now(UTC)

    # What is seen of them.

    async def fell_silent(self, quiet: timedelta) -> None:
        """The agent has given no sign of life for so long: end its process."""
        self._failure = Failure.silent(quiet)
        await self._process.kill(grace=patience(amid_call=self._boundary.is_running))

    async def heard_of_retry(self, announced: dict[str, Any]) -> None:
        """The runtime is to call the model again by itself.

        Attempts beyond its own number (it knows no end of them once it is told to announce
        long waits), and waits that are long, are the policy's: it has budgets, and the
        session can be drained meanwhile.
        """
        delay = timedelta(milliseconds=_number(announced.get("retry_delay_ms")))
        beyond = _number(announced.get("attempt")) > _number(announced.get("max_retries"))
        if self.answered and (beyond or delay > LONGEST_RETRY):
            status = int(_number(announced.get("error_status"))) or None
            self._failure = Failure.retrying(status, datetime.now(UTC) + delay)
            await self._process.kill()

    async def ride_out_end(self, error: Exception | None) -> Exception | None:
        """The agent's process ended in the midst of a turn. Returns None where the turn
        goes on, else what the caller is to be told."""
        ours, self._failure = self._failure, None
        failure = ours or failure_of(error or SupervisorError(_ENDED))
        async with self._turn.switching:
            if await self.ride_out(failure):
                return None
        if error is not None and ours is None:
            return error
        newest = self.newest
        return SupervisorError(newest.interruption.reason if newest is not None else _ENDED)

    async def ride_out_result(self, result: ResultMessage) -> bool:
        """The SDK's part of the turn has its result; returns whether the turn goes on."""
        if self._process.is_callers or (result.terminal_reason or "").startswith("aborted"):
            return False
        async with self._turn.switching:
            if self._continuation.compacting is not None:
                if await self._continuation.after_compaction(failed=result.is_error):
                    return True
                return await self.ride_out(Failure.compaction_failed())
            if not result.is_error:
                return False
            return await self.ride_out(failure_of(result, rate_limit=self.rate_limit))

    def is_aside(self, result: ResultMessage) -> bool:
        """Whether a result only reports on a background subagent that was cut off. It comes
        as soon as a process has resumed: before the prompt that the turn goes on with, or
        after it and before the answer to it."""
        may_be = self._resumed or self._turn.switching.locked() or not self._turn.is_open
        reports = result.num_turns == 0 and not result.result and not result.is_error
        aside = may_be and reports and self._continuation.compacting is None
        self._resumed = aside
        return aside

    # What is done about them.

    @property
    def now(self) -> Outage | None:
        """The one that is being decided on."""
        return self.newest if self._is_under_way else None

    async def ride_out(
        self, failure: Failure | None, transcript: str | None = None, *, insist: bool = False
    ) -> bool:
        """Diagnose what ended the turn, and do what the policy says; returns whether the
        turn goes on, or its answer was handed over.

        `transcript` is where it ran, if not in the agent's process; with `insist` the turn
        goes on whatever the policy says, if a machine may go on with it.
        """
        self._turn.let_go("the turn was interrupted")
        await self._actions.settled()
        self._boundary.reopen()
        try:
            return await self._until_decided(failure, transcript, insist)
        except StoreError as error:
            await self._supervision.note("store", f"the turn cannot be diagnosed: {error}")
            return False
        finally:
            self._is_under_way = False

    async def resume(self, decision: Decision, after: timedelta) -> str:
        """Wait, then go on as the diagnosis says; returns in one sentence how."""
        outage = self.now
        if outage is None:
            raise ActionError("the agent's turn is not interrupted")
        self._continuation.check(outage.interruption)
        await asyncio.sleep(after.total_seconds())
        self._supervision.resumed(decision)
        try:
            did = await self._continuation.begin(outage.interruption, self._transcript)
        except ActionError:
            raise
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception here
            self._failure = failure_of(error)
            self._why_not = f"could not start the agent: {error}"
            return self._why_not
        self.went_on()
        self._resumed = True
        return did

    def went_on(self) -> None:
        """An action had the agent go on."""
        self._went_on = True

    def why_not(self) -> str:
        """Why the turn does not go on, if `ride_out` said so."""
        if self.newest is None:
            return "it cannot be diagnosed"
        interruption = self.newest.interruption
        if not interruption.retryable:
            return interruption.reason
        return (
            self._turn.state_reason
            or self._why_not
            or self._actions.why_failed
            or interruption.reason
        )

    async def _until_decided(
        self, failure: Failure | None, left_in: str | None, insist: bool
    ) -> bool:
        """`left_in` is the transcript that another process left the turn behind in, as
        long as the agent stands in no other."""
        while not self._turn.is_drained:
            stood = self._process.sdk_id
            self._transcript = left_in or stood
            interruption = await self._diagnose(failure, left_in)
            if left_in is None and interruption.cause in _NOT_OUTAGES:
                return False
            if left_in is not None and interruption.go_on is GoOn.HAND_OVER:
                await self._hand_over(interruption)
                return True
            if not await self._attempt(interruption, insist):
                return False
            if self._went_on:
                if interruption.go_on is GoOn.HAND_OVER:
                    await self._hand_over(interruption)
                return True
            failure = self._failure or failure
            left_in = left_in if stood == self._process.sdk_id else None
        return False

    async def _attempt(self, interruption: Interruption, insist: bool) -> bool:
        """Have the policy decide, and its action done; returns whether it goes on or may
        be tried again."""
        self._is_under_way, self._went_on = True, False
        self._failure, self._why_not, self._actions.why_failed = None, "", ""
        decision = await self._supervision.interrupted(
            interruption, self._transcript, insist=insist
        )
        await self._actions.settled()
        if self._went_on:
            return True
        if decision is None or decision.choice is not Choice.ACT:
            self._why_not = decision.reason if decision is not None else ""
            return False
        return not self._turn.is_stopped and decision.rule is not None

    async def _diagnose(self, failure: Failure | None, left_in: str | None) -> Interruption:
        by_result = failure is not None and failure.kind is FailureKind.RESULT
        if not self._process.is_alive and left_in is None and not by_result:
            await self._process.end()
            await self._recover(self._transcript)
        await self._supervision.settled()
        interruption = await self._supervision.diagnose(failure, self._transcript)
        if self._mark != (mark := self._supervision.outage_mark):
            self._mark, self._began = mark, datetime.now(UTC)
        cost = self._turn.ledger.cost_usd
        self.newest = Outage(interruption=interruption, began=self._began, cost_usd=cost)
        return interruption

    async def _hand_over(self, interruption: Interruption) -> None:
        self._is_under_way = self._resumed = False
        await self._turn.end(_answer(interruption, self._process.sdk_id))


def announcing_waits(options: ClaudeAgentOptions) -> ClaudeAgentOptions:
    """The options with which the runtime tells of waits that are long; what the caller set,
    in the options or in the environment, holds."""
    ours = {name: value for name, value in _ANNOUNCED_WAITS.items() if name not in os.environ}
    return replace(options, env={**ours, **options.env})


def _answer(interruption: Interruption, sdk_session_id: str) -> ResultMessage:
    """The result of a turn that finished unseen."""
    return ResultMessage(
        subtype="success",
        duration_ms=0,
        duration_api_ms=0,
        is_error=False,
        num_turns=0,
        session_id=sdk_session_id,
        stop_reason="end_turn",
        result=interruption.answer,
        uuid=str(uuid4()),
        terminal_reason="completed",
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
