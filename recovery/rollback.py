"""`rollback`: take the failure out of the agent's context, then say what was tried."""

from __future__ import annotations

from typing import ClassVar, Literal

from msgspec.structs import replace

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken
from supervisor.errors import ActionError

__all__ = ["Rollback", "RollbackParams"]

_SAYS = """\
Your supervisor took you back to this point of the conversation, because what followed led \
nowhere. {{ message }}
{% if tried %}
Tried since then, without success: {{ tried | join("; ") }}.
{% endif %}
Go on with the task from here, another way."""


class RollbackParams(ActionParams):
    """Where to go back to, and what to say there."""

    to: Literal["onset"] = "onset"
    """`onset`: the last checkpoint before the failure began."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""
    files: Literal["keep", "restore"] = "keep"
    """`restore`: the working folder is brought back to how it was there, too."""

    @property
    def restores_files(self) -> bool:
        return self.files == "restore"


class Rollback(Action):
    """Forks the transcript at the last checkpoint before the onset and goes on there.

    A model conditioned on a drifted history keeps drifting (arXiv 2603.03258), so the
    failed part leaves its context; one paragraph says what was tried. The fork is made
    from the stored transcript, so it reaches back past a compaction too. Files are brought
    back where the policy says so; other side effects are not, and the prompt names them.
    """

    name: ClassVar[str] = "rollback"
    Params: ClassVar[type[ActionParams]] = RollbackParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.BRANCH})

    async def run(
        self, decision: Decision, params: RollbackParams, agent: AgentControl
    ) -> ActionResult:
        """Find the checkpoint, branch there, prompt."""
        verdict = decision.verdict
        if decision.since_seq:
            verdict = replace(verdict, onset_seq=decision.since_seq)
            decision = replace(decision, verdict=verdict)
        checkpoint = agent.checkpoint_before(verdict)
        if checkpoint is None:
            raise ActionError(
                f"nothing to roll back to: no checkpoint before entry {verdict.onset_seq}"
            )
        text = spoken(decision, agent, _SAYS, params.message)
        await agent.branch(decision, checkpoint, text, restore_files=params.restores_files)
        return ActionResult(
            detail=f"rolled back to entry {checkpoint.seq}, before the onset at "
            f"{verdict.onset_seq}, and prompted"
        )
