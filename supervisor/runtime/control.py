"""`Control`: what recovery actions can do to an agent, on the Claude Agent SDK."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from supervisor.core.action import Capability, Denial, Opinion
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.digest import Digest
from supervisor.core.interruption import Outage
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.errors import ActionError
from supervisor.runtime.actions import Actions
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.changes import Changes
from supervisor.runtime.escalation import Escalations
from supervisor.runtime.outages import Outages
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.supervision import Supervision
from supervisor.runtime.takeover import Takeover, Takeovers

__all__ = ["Control"]

_ENDINGS = frozenset({FailureMode.FALSE_COMPLETION, FailureMode.PREMATURE_END})
"""Failures that show as the agent ends its turn."""


_BESIDE_A_SUBAGENT = 2.0
"""Seconds that a parent's other calls have to end, where it is interrupted to end a subagent."""

_BY_A_NEW_PROCESS = frozenset(
    {Capability.BRANCH, Capability.MASK_RESULTS, Capability.RESTART, Capability.SWITCH}
)
_TO_A_SUBAGENT = frozenset(
    {
        Capability.ADD_CONTEXT,
        Capability.DENY_CALLS,
        Capability.NOTIFY,
        Capability.STOP_SUBAGENT,
    }
)


class Control:
    """The `AgentControl` of one session's agent."""

    def __init__(
        self,
        process: AgentProcess,
        supervision: Supervision,
        boundary: Boundary,
        takeovers: Takeovers,
        outages: Outages,
        escalations: Escalations,
        changes: Changes,
        actions: Actions,
    ) -> None:
        self._process = process
        self._supervision = supervision
        self._boundary = boundary
        self._takeovers = takeovers
        self._outages = outages
        self._escalations = escalations
        self._changes = changes
        self._actions = actions

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        """Everything for the main agent, but that a custom transport cannot be started
        anew, and an interrupted turn not be talked to. A subagent can be told
        something, denied calls, and stopped: it is not ours to end its parent."""
        if agent_id is not None:
            return _TO_A_SUBAGENT
        outage = self.outage()
        if outage is not None:
            retryable = outage.interruption.retryable and not self._process.is_callers
            ways = {Capability.RESUME, *_BY_A_NEW_PROCESS} if retryable else set()
            ways.discard(Capability.MASK_RESULTS)
            return frozenset({*ways, Capability.STOP, Capability.PAUSE, Capability.NOTIFY})
        at_its_stop = self._boundary.stopping.is_open
        lacking = {
            Capability.RESUME,
            Capability.STOP_SUBAGENT,
            Capability.ADD_CONTEXT if at_its_stop else Capability.REFUSE_STOP,
        }
        if self._process.is_callers:
            lacking |= _BY_A_NEW_PROCESS
        return frozenset(Capability) - lacking

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last place before the verdict's onset to resume from."""
        return self._supervision.checkpoint_before(verdict)

    async def add_context(self, decision: Decision, text: str) -> None:
        """Queue `text` for the next tool boundary."""
        self._boundary.add_context(decision, text)

    async def prompt(self, decision: Decision, text: str) -> None:
        """End the turn, then send `text`; an agent that is about to end it is kept at work."""
        if self._boundary.stopping.is_open:
            self._boundary.stopping.refuse(text)
            return
        # The CLI counts --max-turns anew for each prompt; a fork gets what is left.
        can_branch = self._process.options.max_turns is not None and not self._process.is_callers
        newest = self._supervision.last_checkpoint(self._process.sdk_id) if can_branch else None
        late = self._is_ending(decision)
        await self._take_over(Takeover("prompt", text, newest, after_the_end=late))

    async def branch(
        self,
        decision: Decision,
        checkpoint: Checkpoint,
        text: str,
        *,
        restore_files: bool = False,
    ) -> None:
        """End the turn, then go on from `checkpoint` with `text`."""
        late = self._is_ending(decision) or self._boundary.stopping.is_open
        self._boundary.stopping.let_go()
        takeover = Takeover("branch", text, checkpoint, restore_files, after_the_end=late)
        await self._take_over(takeover)

    def digest(self) -> Digest:
        """What the agent was asked, has done and has tried."""
        return self._supervision.progress.digest

    def report(self, source: str, problem: str) -> None:
        """Record an incident."""
        self._actions.note(source, problem)

    async def deny_calls(self, decision: Decision, denial: Denial) -> None:
        """Deny these calls from now on."""
        self._boundary.deny(decision, denial)

    async def compact(
        self, decision: Decision, instructions: str, go_on: Callable[[str], str]
    ) -> None:
        """Have the context compacted, and go on with what is made of the summary."""
        await self._change(decision, self._changes.compact(instructions, go_on))

    async def mask_results(self, decision: Decision, seqs: Collection[int], text: str) -> None:
        """Go on in a fork without what these results held."""
        await self._change(decision, self._changes.mask(decision.verdict, seqs, text))

    async def restart(self, decision: Decision, prompt: str, text: str) -> None:
        """Begin a new transcript."""
        await self._change(decision, self._changes.restart(prompt, text))

    async def switch(
        self, decision: Decision, text: str, *, model: str | None = None, effort: str | None = None
    ) -> None:
        """Go on with another model or effort."""
        if self._outages.now is None:
            await self._change(decision, self._changes.switch(text, model=model, effort=effort))
            return
        self._changes.set(model=model, effort=effort)
        await self._process.end()
        await self._outages.resume(decision, timedelta())

    async def stop_subagent(self, decision: Decision, text: str) -> str:
        """Stop the verdict's subagent; its id is its task's (CLI 2.1.330)."""
        agent_id = decision.verdict.agent_id
        if agent_id is None:
            raise ActionError("the verdict is about no subagent")
        try:
            await self._process.client.stop_task(agent_id)
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception here
            did = f"interrupted its parent, since it could not be stopped alone: {error}"
            # The call that runs is most likely the subagent's own: it would not end.
            await self._take_over(Takeover("prompt", text, grace=_BESIDE_A_SUBAGENT))
        else:
            did = "stopped the subagent; its parent goes on, and is told"
            self._boundary.tell(None, text)
        self._supervision.dismiss(agent_id)
        return did

    async def stop(self, decision: Decision, reason: str) -> None:
        """End the turn for good."""
        await self._leave(reason, SessionState.ABORTED)

    async def pause(self, decision: Decision, reason: str) -> None:
        """End the turn until a person says how to go on."""
        await self._leave(reason, SessionState.PAUSED)

    async def refuse_stop(self, decision: Decision, text: str) -> None:
        """Keep the agent at work."""
        self._boundary.stopping.refuse(text)

    async def notify(self, decision: Decision, to: str | None) -> str:
        """Tell a target of the policy's, or every one."""
        return await self._escalations.tell(decision, to)

    async def ask(self, decision: Decision, question: str) -> Opinion:
        """Put a question about the agent's work to the policy's judge."""
        return await self._supervision.ask(decision, question)

    def folder(self) -> Path:
        """Where the agent works."""
        return Path(self._process.options.cwd or Path.cwd())

    def outage(self) -> Outage | None:
        """The interruption that is being decided on."""
        return self._outages.now

    async def resume(self, decision: Decision, after: timedelta) -> str:
        """Wait, then go on as the outage's diagnosis says."""
        return await self._outages.resume(decision, after)

    async def _change(self, decision: Decision, takeover: Takeover) -> None:
        late = self._is_ending(decision) or self._boundary.stopping.is_open
        self._boundary.stopping.let_go()
        await self._take_over(replace(takeover, after_the_end=late))

    async def _leave(self, reason: str, state: SessionState) -> None:
        takeover = Takeover("stop", reason, leaves=state)
        if self._boundary.stopping.is_open:
            await self._takeovers.carry_out_at_once(takeover)  # the agent ends it by itself
            return
        await self._take_over(takeover)

    def _is_ending(self, decision: Decision) -> bool:
        """Whether it is about how the agent ends its turn: the end must not forestall it."""
        verdict = decision.verdict
        return verdict.failure_mode in _ENDINGS or self._supervision.ends_with(verdict)

    async def _take_over(self, takeover: Takeover) -> None:
        if self._outages.now is None:
            await self._takeovers.take_over(takeover)
            return
        await self._takeovers.carry_out_at_once(takeover)
        if takeover.kind != "stop":
            self._outages.went_on()
