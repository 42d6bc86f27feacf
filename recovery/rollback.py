"""`rollback`: take the failure out of the agent's context, then say what was tried."""

from __future__ import annotations

from typing import ClassVar, Literal

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.feedback import addressed, feedback
from supervisor.errors import ActionError

__all__ = ["Rollback", "RollbackParams"]


class RollbackParams(ActionParams):
    """Where to go back to, and what to say there."""

    to: Literal["onset"] = "onset"
    """`onset`: the last checkpoint before the failure began."""
    message: str | None = None
    """Said in place of Lucid's own description of the failure."""


class Rollback(Action):
    """Forks the transcript at the last checkpoint before the onset and goes on there.

    A model conditioned on a drifted history keeps drifting (arXiv 2603.03258), so the
    failed part leaves its context; one paragraph says what was tried. The fork is made
    from the stored transcript, so it reaches back past a compaction too. Files and
    other side effects are not undone, and the prompt says so.
    """

    name: ClassVar[str] = "rollback"
    Params: ClassVar[type[ActionParams]] = RollbackParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.BRANCH})

    async def run(
        self, decision: Decision, params: RollbackParams, agent: AgentControl
    ) -> ActionResult:
        """Find the checkpoint, branch there, prompt."""
        verdict = decision.verdict
        checkpoint = agent.checkpoint_before(verdict)
        if checkpoint is None:
            raise ActionError(
                f"nothing to roll back to: no checkpoint before entry {verdict.onset_seq}"
            )
        text = params.message or feedback(verdict)
        await agent.branch(
            decision,
            checkpoint,
            addressed(
                "Your supervisor took you back to this point of the conversation, because what "
                f"followed led nowhere. {text}\n"
                "Files you changed and commands you ran since are not undone: check before you "
                "rely on either. Go on with the task from here, another way."
            ),
        )
        return ActionResult(
            detail=f"rolled back to entry {checkpoint.seq}, before the onset at "
            f"{verdict.onset_seq}, and prompted"
        )
