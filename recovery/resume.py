"""`resume`: go on with an interrupted turn, in the way that fits its cause."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from pydantic import Field

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.duration import Duration, duration_text
from supervisor.core.interruption import Interruption
from supervisor.errors import ActionError

__all__ = ["Resume", "ResumeParams"]


class ResumeParams(ActionParams):
    """How long an outage is waited out, and what that may cost."""

    attempts: int = Field(default=12, strict=True, ge=1, le=1000)
    """How often in a row. With the default waits, twelve attempts span most of an hour."""
    within: Duration = timedelta(hours=2)
    """How long after the outage began the last attempt may come. A service that says to
    come back later than that is not waited for."""
    cost_usd: float | None = Field(default=None, gt=0)
    """What the turn may have cost so far for another attempt."""
    first_wait: Duration = timedelta(seconds=2)
    """Before the first attempt, where the service or the way to it is at fault; doubled
    for each attempt after it."""
    longest_wait: Duration = timedelta(minutes=10)

    def wait(self, interruption: Interruption, attempt: int, now: datetime) -> timedelta:
        """How long to wait before this attempt (1: the first), with jitter.

        Never less than the service asked for. The back-off is drawn from the upper half
        ("equal jitter", Brooker, "Exponential Backoff And Jitter", AWS 2015): agents that
        were cut off together do not come back together, and none comes back at once.
        """
        asked = interruption.wait(now) or timedelta()
        spread = random.uniform(0.5, 1.0)
        if not interruption.back_off and attempt == 1:
            return asked
        doubled = self.first_wait * 2 ** min(attempt - 1, 30)
        backed_off: timedelta = min(doubled, self.longest_wait) * spread
        return asked + backed_off


class Resume(Action):
    """Goes on as the diagnosis of the interruption says: sends the prompt again if it never
    reached the model, has the agent continue or verify first what may have run, compacts,
    or forks before what broke the turn. Waits before, longer each time.

    Out of reach where no retry can help, and where a person interrupted.
    """

    name: ClassVar[str] = "resume"
    Params: ClassVar[type[ActionParams]] = ResumeParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.RESUME})
    time_limit: ClassVar[timedelta | None] = None

    async def run(
        self, decision: Decision, params: ResumeParams, agent: AgentControl
    ) -> ActionResult:
        """Wait, then go on."""
        outage = agent.outage()
        if outage is None:
            raise ActionError("the agent's turn is not interrupted")
        if params.cost_usd is not None and outage.cost_usd >= params.cost_usd:
            raise ActionError(
                f"the turn has cost {outage.cost_usd:.2f} USD, of {params.cost_usd:.2f} allowed"
            )
        now = datetime.now(UTC)
        wait = params.wait(outage.interruption, decision.attempt, now)
        if now + wait > outage.began + params.within:
            raise ActionError(
                f"the next attempt would be due in {_rounded(wait)}, later than "
                f"{duration_text(params.within)} after the outage began"
            )
        did = await agent.resume(decision, wait)
        return ActionResult(detail=f"waited {_rounded(wait)} and {did}" if wait else did)


def _rounded(wait: timedelta) -> str:
    return (
        f"{wait.total_seconds():.1f} s" if wait < timedelta(minutes=2) else str(wait).split(".")[0]
    )
