"""`block_tool`: deny the calls that lead nowhere, with a reason."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from supervisor.core.action import (
    Action,
    ActionParams,
    ActionResult,
    AgentControl,
    Capability,
    Denial,
)
from supervisor.core.decision import Decision
from supervisor.core.digest import Step
from supervisor.core.template import Message, spoken
from supervisor.errors import ActionError

__all__ = ["BlockTool", "BlockToolParams"]

_SAYS = {
    "call": """\
Your supervisor denied this call, and will deny the same one again for now. Nothing was run. \
{{ message }}""",
    "tool": """\
Your supervisor denied this call, and will deny every other of this tool for now. Nothing was \
run. {{ message }}""",
}


class BlockToolParams(ActionParams):
    """Which calls are denied, and for how long."""

    what: Literal["call", "tool"] = "call"
    """`call`: those exactly like the ones that the verdict rests on; `tool`: every call of
    their tools."""
    calls: int | None = Field(default=None, strict=True, ge=1, le=10_000)
    """For so many of the agent's next tool calls. Left out: until it is known what came of
    it, five tool results later or as soon as it fails again."""
    message: Message | None = None
    """Said in place of Lucid's own description of the failure."""


class BlockTool(Action):
    """Has the calls that the verdict rests on denied before they run.

    An agent that repeats itself gets something new to think about in place of the same
    result, and no side effect is repeated meanwhile. Works on subagents too, and interrupts
    nothing. Calls of tools that do not exist cannot be denied: no hook sees them.
    """

    name: ClassVar[str] = "block_tool"
    Params: ClassVar[type[ActionParams]] = BlockToolParams
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.DENY_CALLS})

    async def run(
        self, decision: Decision, params: BlockToolParams, agent: AgentControl
    ) -> ActionResult:
        """Find the calls, and have them denied."""
        verdict = decision.verdict
        steps = agent.digest().resting_on(verdict.evidence.entries)
        steps = tuple(step for step in steps if step.agent_id == verdict.agent_id)
        if not steps:
            raise ActionError("the verdict rests on no tool call that could be denied")
        reason = spoken(decision, agent, _SAYS[params.what], params.message)
        denial = _denial(steps, params, reason)
        await agent.deny_calls(decision, denial)
        return ActionResult(detail=f"denies {_named(steps, params)} from now on")


def _denial(steps: tuple[Step, ...], params: BlockToolParams, reason: str) -> Denial:
    if params.what == "tool":
        tools = frozenset(step.tool for step in steps)
        return Denial(reason=reason, tools=tools, calls=params.calls)
    prints = frozenset(step.fingerprint for step in steps)
    return Denial(reason=reason, fingerprints=prints, calls=params.calls)


def _named(steps: tuple[Step, ...], params: BlockToolParams) -> str:
    tools = ", ".join(sorted({step.tool for step in steps}))
    if params.what == "tool":
        return f"calls of {tools}"
    count = len({step.fingerprint for step in steps})
    return f"{count} exact {'call' if count == 1 else 'calls'} of {tools}"
