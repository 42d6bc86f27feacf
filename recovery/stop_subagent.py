"""`stop_subagent`: end a subagent that nothing brings back, and not its parent."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.template import Message, spoken

__all__ = ["StopSubagent", "StopSubagentParams"]

_SAYS = """\
Your supervisor stopped one of your subagents; nobody asked you to stop. What was seen of \
the subagent, said to it: {{ message }}
{% if tried %}
Its last calls:
{% for line in tried %}
- {{ line }}
{% endfor %}
{% endif %}
Go on without it: do its part yourself, or start another with a smaller task and another way \
to do it. Check what it may have left half done."""


class StopSubagentParams(ActionParams):
    """What the parent is told."""

    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class StopSubagent(Action):
    """Stops the subagent that the verdict is about; its parent's turn goes on.

    The parent reads what happened beside its next tool result. Where the runtime cannot stop
    a subagent by itself, the parent is interrupted, which ends its subagents, and prompted.
    For verdicts on the main agent the rung is skipped.
    """

    name: ClassVar[str] = "stop_subagent"
    Params: ClassVar[type[ActionParams]] = StopSubagentParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.STOP_SUBAGENT})

    async def run(
        self, decision: Decision, params: StopSubagentParams, agent: AgentControl
    ) -> ActionResult:
        """Stop it, and tell its parent."""
        text = spoken(decision, agent, _SAYS, params.message)
        did = await agent.stop_subagent(decision, text)
        return ActionResult(detail=did, status=OutcomeStatus.CLEARED)
