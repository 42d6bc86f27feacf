"""`HookControl`: steering an agent that we do not own, through its hooks only.

Everything takes effect where the agent asks us: before a tool call, behind it, and when it is
about to end its turn. What would need its process (another branch of the transcript, another
model) is out of reach, and is offered as a hand-over: `lucid adopt`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Iterable
from datetime import timedelta
from pathlib import Path
from typing import NoReturn

from supervisor.core.action import Capability, Denial, Opinion
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.digest import Digest
from supervisor.core.interruption import Outage
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import ActionError
from supervisor.policy.model import Policy
from supervisor.policy.reach import CAPABILITIES, RunMode
from supervisor.runtime.actions import Actions, Forestalled
from supervisor.runtime.escalation import Escalations, Told
from supervisor.runtime.listening import LOOK_SECONDS, Listening
from supervisor.runtime.stopping import Stopping
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.gate import Gate
from supervisor.sidecar.leave import Leave
from supervisor.sidecar.turns import Turns
from supervisor.store.interface import Store

__all__ = ["HookControl"]

_UNREACHED = frozenset({Capability.NOTIFY, Capability.ASK})
"""What is left where the agent posts no hooks."""
_TO_A_SUBAGENT = frozenset(
    {
        Capability.ADD_CONTEXT,
        Capability.DENY_CALLS,
        Capability.NOTIFY,
        Capability.STOP_SUBAGENT,
    }
)


class HookControl:
    """The `AgentControl` of one session that runs beside us.

    Made first, since a supervision wants its `capabilities` and `act`; nothing is done with
    it until `begin`.
    """

    gate: Gate
    stopping: Stopping
    turns: Turns
    leave: Leave

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` is where the agent works, if that is known; else its first hook says so."""
        self.is_reached = False
        """The agent has posted a hook to this process."""
        self._folder = folder
        self._supervision: Supervision | None = None
        self._looking: asyncio.Task[None] | None = None

    def begin(
        self,
        supervision: Supervision,
        policy: Policy,
        store: Store | None,
        *,
        told: Iterable[Told] = (),
    ) -> None:
        """Steer for this supervision from now on. `store` is where people's words are; `told`
        is who was told of what before (`told_before`)."""
        self._supervision = supervision
        self._actions = Actions(supervision)
        self._escalations = Escalations(policy.escalation, supervision, told=told)
        self._store = store
        self._listening = Listening(supervision, store)
        self._looked = 0.0
        self.gate = Gate(supervision, self._listening)
        self.stopping = Stopping(supervision, self._listening)
        self.turns = Turns(supervision, self.gate, self._actions)
        self.leave = Leave(supervision, self.gate, self.stopping, self.turns)

    def reached(self, cwd: str = "") -> None:
        """The agent has posted a hook, from this folder. To be called before its files are
        read: what is found there is decided on by what can be done."""
        self.is_reached = True
        if self._folder is None and cwd:
            self._folder = Path(cwd)

    def listen(self) -> None:
        """Ask the store for what people say to the session, if that was not done just now;
        returns at once, and its next hook has it."""
        now = time.monotonic()
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self._looking = asyncio.create_task(self._listening.look())

    async def refusal(self) -> str | None:
        """Why no prompt is let through any more, if an action ended the session."""
        if self._store is None:
            return None
        row = await self._store.session(self._of.session_id)
        if row.state is not SessionState.ABORTED:
            return None
        return (
            f"Lucid's policy stopped this session: {row.state_reason or 'no reason is on record'}."
            f" Begin another one, or go on with this one by: lucid adopt {row.session_id}"
        )

    def act(self, decision: Decision) -> None:
        """Start a decision's action; returns at once."""
        self._actions.start(decision, self)

    async def close(self) -> None:
        """End what is under way; whoever supervises the session next accounts for it."""
        if self._supervision is None:
            return
        self.stopping.let_go()
        await self.leave.close()
        await self.turns.close()
        self._actions.cancel()
        await self._actions.settled()
        await self._escalations.close()
        await self._listening.stop()

    # What actions may do.

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        """What can be done to an agent just now: nothing to one that posts no hooks."""
        if not self.is_reached:
            return _UNREACHED
        if agent_id is not None:
            return _TO_A_SUBAGENT
        if self.turns.at_rest:
            return _UNREACHED
        able = CAPABILITIES[RunMode.SIDECAR] - {Capability.STOP_SUBAGENT}
        lacking = Capability.ADD_CONTEXT if self.stopping.is_open else Capability.REFUSE_STOP
        return able - {lacking}

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last place before the verdict's onset to resume from."""
        return self._of.checkpoint_before(verdict)

    async def add_context(self, decision: Decision, text: str) -> None:
        """Queue `text` for the agent's next hook."""
        self.gate.beside.add(decision, text)

    async def prompt(self, decision: Decision, text: str) -> None:
        """Refuse the agent's next call, or its stop, with `text`: it reads nothing else then,
        though its turn does not end."""
        if self.stopping.is_open:
            self._refuse(decision, text)
            return
        await self.gate.correct(decision, text)

    async def deny_calls(self, decision: Decision, denial: Denial) -> None:
        """Deny these calls from now on."""
        self.gate.denials.add(decision, denial)
        self._of.queued(decision)

    async def refuse_stop(self, decision: Decision, text: str) -> None:
        """Keep the agent at work."""
        self.stopping.refuse(text)

    async def stop(self, decision: Decision, reason: str) -> None:
        """End the turn; no prompt is let through any more."""
        await self._leave(decision, SessionState.ABORTED, reason)

    async def pause(self, decision: Decision, reason: str) -> None:
        """End the turn until a person says how to go on, at the agent's terminal or by
        `lucid approve` and its like."""
        await self._leave(decision, SessionState.PAUSED, reason)

    async def stop_subagent(self, decision: Decision, text: str) -> str:
        """End the verdict's subagent at its next call, and tell its parent."""
        agent_id = decision.verdict.agent_id
        if agent_id is None:
            raise ActionError("the verdict is about no subagent")
        await self.gate.end(decision, "Stopped by the supervisor.")
        self.gate.beside.tell(None, text)
        self._of.dismiss(agent_id)
        return "stopped the subagent at its next call; its parent goes on, and is told"

    async def notify(self, decision: Decision, to: str | None) -> str:
        """Tell a target of the policy's, or every one."""
        return await self._escalations.tell(decision, to)

    async def ask(self, decision: Decision, question: str) -> Opinion:
        """Put a question about the agent's work to the policy's judge."""
        return await self._of.ask(decision, question)

    def digest(self) -> Digest:
        """What the agent was asked, has done and has tried."""
        return self._of.progress.digest

    def report(self, source: str, problem: str) -> None:
        """Record an incident."""
        self._actions.note(source, problem)

    def outage(self) -> Outage | None:
        """None: an agent whose turn is interrupted is not ours to go on with."""
        return None

    def folder(self) -> Path:
        """Where the agent works. Raises `ActionError` where that is not known, or not here."""
        if self._folder is None or not self._folder.is_absolute() or not self._folder.is_dir():
            raise ActionError(
                f"the agent's folder {self._folder or '(unknown)'} is not on this host: "
                "run the sidecar where it is, at the same path"
            )
        return self._folder

    # What needs the agent's process.

    async def branch(
        self,
        decision: Decision,
        checkpoint: Checkpoint,
        text: str,
        *,
        restore_files: bool = False,
    ) -> None:
        """Out of reach."""
        self._needs_its_process()

    async def resume(self, decision: Decision, after: timedelta) -> str:
        """Out of reach."""
        self._needs_its_process()

    async def compact(
        self, decision: Decision, instructions: str, go_on: Callable[[str], str]
    ) -> None:
        """Out of reach."""
        self._needs_its_process()

    async def mask_results(self, decision: Decision, seqs: Collection[int], text: str) -> None:
        """Out of reach."""
        self._needs_its_process()

    async def restart(self, decision: Decision, prompt: str, text: str) -> None:
        """Out of reach."""
        self._needs_its_process()

    async def switch(
        self, decision: Decision, text: str, *, model: str | None = None, effort: str | None = None
    ) -> None:
        """Out of reach."""
        self._needs_its_process()

    @property
    def _of(self) -> Supervision:
        assert self._supervision is not None, "begin comes first"
        return self._supervision

    def _refuse(self, decision: Decision, text: str) -> None:
        self.stopping.refuse(text)
        self._of.resumed(decision)

    async def _leave(self, decision: Decision, state: SessionState, reason: str) -> None:
        if self.turns.at_rest:
            raise Forestalled("the turn ended first")
        if not self.stopping.is_open:
            await self.gate.end(decision, reason)
        self.turns.leaves = (state, reason)

    def _needs_its_process(self) -> NoReturn:
        raise ActionError(
            "this needs the agent's process, which a sidecar does not own: "
            f"lucid adopt {self._of.session_id}"
        )
