"""`restart`: begin anew, with the task and what is known of the work so far."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken
from supervisor.errors import ActionError

__all__ = ["Restart", "RestartParams"]

_SAYS = """\
This task was begun before, in a conversation that you do not see: your supervisor ended it. \
What went wrong there: {{ message }}
{% if asked_since %}
The user also said, later:
{% for line in asked_since %}
- {{ line }}
{% endfor %}
{% endif %}
{% if done %}
These calls finished there. What they did is not undone, unless you find it so; verify what \
you rely on, and do not repeat what is done:
{% for line in done %}
- {{ line }}
{% endfor %}
{% endif %}
{% if tried %}
What was tried last, and led nowhere:
{% for line in tried %}
- {{ line }}
{% endfor %}
{% endif %}
{% if todos %}
Still open on the list that was kept there:
{% for line in todos %}
- {{ line }}
{% endfor %}
{% endif %}
Do the task from where it stands, another way."""


class RestartParams(ActionParams):
    """What is said behind the task."""

    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class Restart(Action):
    """Ends the turn and begins a new transcript in the same session: the user's first prompt
    as it was, and a digest of the work so far.

    For a context that is beyond repair, where no checkpoint stands before what spoilt it.
    The model keeps nothing but what the digest says; files stay as they are.
    """

    name: ClassVar[str] = "restart"
    Params: ClassVar[type[ActionParams]] = RestartParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.RESTART})

    async def run(
        self, decision: Decision, params: RestartParams, agent: AgentControl
    ) -> ActionResult:
        """Begin anew."""
        objective = agent.digest().objective
        if not objective:
            raise ActionError("the session has no objective to begin anew with")
        text = spoken(decision, agent, _SAYS, params.message)
        await agent.restart(decision, objective, text)
        return ActionResult(detail="began anew, from the objective and a digest of the work")
