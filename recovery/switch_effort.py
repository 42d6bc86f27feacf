"""`switch_effort`: have the model think more, or less."""

from __future__ import annotations

from typing import ClassVar, Literal

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken

__all__ = ["SwitchEffort", "SwitchEffortParams"]

_SAYS = """\
Your supervisor interrupted you. {{ message }}
Then go on with the task."""


class SwitchEffortParams(ActionParams):
    """How much effort, and what is said."""

    to: Literal["low", "medium", "high", "xhigh", "max"] = "high"
    """What the runtime knows as effort; a model that lacks the level takes its nearest."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class SwitchEffort(Action):
    """Ends the turn and goes on with the same history at another effort, for the rest of the
    session. Costs a new process, since the runtime takes its effort when it starts."""

    name: ClassVar[str] = "switch_effort"
    Params: ClassVar[type[ActionParams]] = SwitchEffortParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.SWITCH})

    async def run(
        self, decision: Decision, params: SwitchEffortParams, agent: AgentControl
    ) -> ActionResult:
        """Switch and prompt."""
        text = spoken(decision, agent, _SAYS, params.message)
        await agent.switch(decision, text, effort=params.to)
        return ActionResult(detail=f"goes on at {params.to} effort")
