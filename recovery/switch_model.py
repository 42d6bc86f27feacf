"""`switch_model`: let another model go on with the task."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken

__all__ = ["SwitchModel", "SwitchModelParams"]

_SAYS = """\
Your supervisor interrupted you. {{ message }}
Then go on with the task."""


class SwitchModelParams(ActionParams):
    """Which model, and what it is told."""

    to: str = Field(min_length=1, max_length=200)
    """The model's name, as the runtime takes it."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class SwitchModel(Action):
    """Ends the turn and goes on with the same history under another model, for the rest of
    the session.

    What one model cannot see, another often does; and a service that refuses one may
    serve the other: an interrupted turn goes on as its diagnosis says, with no more words.
    """

    name: ClassVar[str] = "switch_model"
    Params: ClassVar[type[ActionParams]] = SwitchModelParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.SWITCH})

    async def run(
        self, decision: Decision, params: SwitchModelParams, agent: AgentControl
    ) -> ActionResult:
        """Switch and prompt."""
        text = spoken(decision, agent, _SAYS, params.message)
        await agent.switch(decision, text, model=params.to)
        return ActionResult(detail=f"goes on with the model {params.to}")
