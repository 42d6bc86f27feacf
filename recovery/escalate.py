"""`escalate`: tell people."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision

__all__ = ["Escalate", "EscalateParams"]


class EscalateParams(ActionParams):
    """Who is told."""

    to: str | None = Field(default=None, strict=True, min_length=1)
    """A target of the policy's `escalation`; None: every one."""


class Escalate(Action):
    """Posts to a webhook, an Alertmanager or a chat. The agent notices nothing and goes on.

    Once for each failure: told again about the same one, it does nothing. Its outcome says
    what became of the failure, whoever saw to it.
    """

    name: ClassVar[str] = "escalate"
    Params: ClassVar[type[ActionParams]] = EscalateParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.NOTIFY})

    async def run(
        self, decision: Decision, params: EscalateParams, agent: AgentControl
    ) -> ActionResult:
        """Tell them."""
        return ActionResult(detail=await agent.notify(decision, params.to), at_once=True)
