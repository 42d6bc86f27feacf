"""`mask_results`: take stale, bulky tool results out of the agent's context."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.template import Message, spoken
from supervisor.core.verdict import Verdict
from supervisor.errors import ActionError

__all__ = ["MaskResults", "MaskResultsParams"]

_SAYS = """\
Your supervisor took results that are out of date, or too large, out of your context. Each \
says what was there; where you need one, make its call again, for the part that you need. \
{{ message }}
Go on with the task from where it stands."""


class MaskResultsParams(ActionParams):
    """Which results are taken out, and what is said."""

    longer_than: int = Field(default=1_000, strict=True, ge=0)
    """Characters up to which a result stays: it costs less than what would replace it saves."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class MaskResults(Action):
    """Ends the turn and goes on in a fork, in which the results that the verdict rests on
    are replaced by a line that names their size and their entry.

    Masking old observations does as well as summing them up, at half the cost (Lindenbauer
    et al., "The Complexity Trap", arXiv 2508.21433), and loses nothing: what was masked
    stays in the store, and the call beside it can be made again.
    """

    name: ClassVar[str] = "mask_results"
    Params: ClassVar[type[ActionParams]] = MaskResultsParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.MASK_RESULTS})

    async def run(
        self, decision: Decision, params: MaskResultsParams, agent: AgentControl
    ) -> ActionResult:
        """Choose them, have them masked, and prompt."""
        steps = agent.digest().resting_on(_named(decision.verdict))
        bulky = [step for step in steps if step.result_length > params.longer_than]
        seqs = frozenset(step.result_seq for step in bulky if step.result_seq is not None)
        if not seqs:
            raise ActionError(
                "the verdict rests on no result that is longer than "
                f"{params.longer_than:,} characters"
            )
        text = spoken(decision, agent, _SAYS, params.message)
        await agent.mask_results(decision, seqs, text)
        size = sum(step.result_length for step in bulky)
        results = "result" if len(seqs) == 1 else "results"
        return ActionResult(detail=f"masked {len(seqs)} {results} of {size:,} characters in a fork")


def _named(verdict: Verdict) -> frozenset[int]:
    """The entries that the evidence names; those that are no results do not matter."""
    oversized = verdict.evidence.facts.get("oversized_seq")
    more = {oversized} if isinstance(oversized, int) else set()
    return frozenset({*verdict.evidence.entries, *more})
