"""`compact`: have the context summed up, and see that what matters is in the summary."""

from __future__ import annotations

from typing import ClassVar

from supervisor.core.action import Action, ActionParams, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.digest import Digest, told
from supervisor.core.feedback import addressed, quote
from supervisor.core.template import Message, phrased

__all__ = ["Compact", "CompactParams"]

_INSTRUCTIONS = (
    "Keep, word for word, the task as the user gave it, with every condition. Keep what is "
    "done, what is still to be done, and what was tried and failed. Leave out what tools "
    "returned, but for what is needed next."
)
_TASK = 1_000
"""Characters of the task that the summary is searched for, and that are given back."""
_WORK = 20

_SAYS = """\
Your supervisor interrupted you to have your context compacted. {{ message }}
Go on with the task from where it stands."""
_TASK_LOST = "The task, which the summary does not hold as it was given: "
_WORK_LOST = "Done already, and not in the summary; do not do it again:"
_TODOS_LOST = "Still open on your list, and not in the summary:"


class CompactParams(ActionParams):
    """What the summary is to keep, and what is said behind it."""

    keep: str = ""
    """What else the summary has to keep, in a sentence."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class Compact(Action):
    """Ends the turn and has the runtime compact the context, with instructions that keep the
    task, its conditions and what is done.

    A summary is the model's, and may drop what matters most (constraints are lost in
    compaction more than facts are). So it is read: the task, finished calls and open
    to-dos that it does not hold are added by the prompt that follows.
    """

    name: ClassVar[str] = "compact"
    Params: ClassVar[type[ActionParams]] = CompactParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.COMPACT})

    async def run(
        self, decision: Decision, params: CompactParams, agent: AgentControl
    ) -> ActionResult:
        """Compact, look what the summary holds, prompt."""
        digest = agent.digest()
        lost: list[str] = []

        def go_on(summary: str) -> str:
            lost.extend(_lost(digest, summary))
            said = phrased(decision, agent, _SAYS, params.message)
            return addressed("\n".join([said, *lost]))

        instructions = " ".join([_INSTRUCTIONS, *_task(digest), *params.keep.split()])
        await agent.compact(decision, instructions, go_on)
        added = f", and added {len(lost)} lines that the summary lacked" if lost else ""
        return ActionResult(detail=f"had the context compacted{added}")


def _task(digest: Digest) -> list[str]:
    return [f"The task was: {quote(digest.objective, _TASK)}"] if digest.objective else []


def _lost(digest: Digest, summary: str) -> list[str]:
    """What the context does not hold any more, as lines of a prompt."""
    held = _plain(summary)
    lines: list[str] = []
    if digest.objective and _plain(digest.objective)[:_TASK] not in held:
        lines.append(_TASK_LOST + quote(digest.objective, 2 * _TASK))
    done = [step for step in digest.done if _plain(step.given.rstrip("…")) not in held]
    if done:
        lines += [_WORK_LOST, *(f"- {line}" for line in told(done, _WORK))]
    todos = [todo for todo in digest.todos if _plain(todo.rstrip("…")) not in held]
    if todos:
        lines += [_TODOS_LOST, *(f"- {quote(todo)}" for todo in todos)]
    return lines


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()
