"""`Action`: the interface every recovery implements, and what it may do to an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.digest import Digest
from supervisor.core.interruption import Outage
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.verdict import Verdict

__all__ = [
    "Action",
    "ActionParams",
    "ActionResult",
    "AgentControl",
    "Capability",
    "Denial",
    "Opinion",
]


class Capability(StrEnum):
    """What a runtime can do to its agent."""

    ADD_CONTEXT = "add_context"
    PROMPT = "prompt"
    BRANCH = "branch"
    RESUME = "resume"
    """Its turn is interrupted, and a machine may go on with it."""
    STOP = "stop"
    REFUSE_STOP = "refuse_stop"
    """It is about to end its turn, and can be kept at work."""
    PAUSE = "pause"
    """It can be left to wait for a person."""
    NOTIFY = "notify"
    """Somebody whom the policy names can be told."""
    DENY_CALLS = "deny_calls"
    COMPACT = "compact"
    MASK_RESULTS = "mask_results"
    RESTART = "restart"
    SWITCH = "switch"
    """Its model and its effort can be changed."""
    STOP_SUBAGENT = "stop_subagent"
    ASK = "ask"
    """A judge that the policy names can be asked about the work."""


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """Calls that are not to run, and what the agent is told in place of a result."""

    reason: str
    tools: frozenset[str] = frozenset()
    """Every call of these tools."""
    fingerprints: frozenset[str] = frozenset()
    """Calls exactly like these: see `digest.fingerprint`."""
    calls: int | None = None
    """For so many of the agent's next tool calls; None: until it is known what came of it."""


class Opinion(msgspec.Struct, frozen=True):
    """What a judge answers to a question about an agent's work."""

    holds: bool
    """Whether it says yes. Where it cannot tell it does not."""
    reason: str
    """Its own words, bounded; as untrusted as what it was shown."""


class AgentControl(Protocol):
    """An agent as an action sees it. Implemented by each way of running one."""

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        """What this runtime can do to a subagent, or to the main agent (None)."""

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last place before the verdict's onset that its agent can be resumed from."""

    async def add_context(self, decision: Decision, text: str) -> None:
        """Show `text` to the model beside its next tool result; interrupts nothing.

        Returns once the text is queued.
        """

    async def prompt(self, decision: Decision, text: str) -> None:
        """End the turn at the next boundary that loses no work, then send `text`."""

    async def branch(
        self,
        decision: Decision,
        checkpoint: Checkpoint,
        text: str,
        *,
        restore_files: bool = False,
    ) -> None:
        """End the turn, fork the transcript at `checkpoint`, go on there with `text`.

        The old branch stays in the store. The runtime says behind `text` what the part left
        behind did that is not undone, and what became of files if they were to be restored.
        """

    def outage(self) -> Outage | None:
        """The interruption that the agent's turn is in; None where it is in none."""

    async def resume(self, decision: Decision, after: timedelta) -> str:
        """Wait, then go on with the interrupted turn as its diagnosis says; returns in one
        sentence how. A process that cannot be started is the next interruption."""

    async def stop(self, decision: Decision, reason: str) -> None:
        """End the turn and the session's supervision with it."""

    def digest(self) -> Digest:
        """What the agent was asked, has done and has tried, so far."""

    def report(self, source: str, problem: str) -> None:
        """Make a fault on Lucid's side known, as an incident; returns at once."""

    async def deny_calls(self, decision: Decision, denial: Denial) -> None:
        """From now on, deny these calls of the verdict's agent; interrupts nothing."""

    async def compact(
        self, decision: Decision, instructions: str, go_on: Callable[[str], str]
    ) -> None:
        """End the turn, have the context compacted by these instructions, then send the
        prompt that `go_on` makes of the summary. Raises where nothing was compacted; the
        agent goes on as it was then."""

    async def mask_results(self, decision: Decision, seqs: Collection[int], text: str) -> None:
        """End the turn, go on with `text` in a fork in which these tool results are replaced
        by a line that says what was there. The old transcript stays in the store."""

    async def restart(self, decision: Decision, prompt: str, text: str) -> None:
        """End the turn and begin a new transcript in the same session, with `prompt`, which
        is the user's, and `text` behind it. The old transcript stays in the store."""

    async def switch(
        self, decision: Decision, text: str, *, model: str | None = None, effort: str | None = None
    ) -> None:
        """End the turn and go on with `text` under another model or effort, which stays. An
        interrupted turn goes on as its diagnosis says instead."""

    async def stop_subagent(self, decision: Decision, text: str) -> str:
        """Stop the verdict's subagent, and let its parent know by `text`; returns in one
        sentence how. The parent goes on, if the runtime can stop a subagent by itself."""

    async def pause(self, decision: Decision, reason: str) -> None:
        """End the turn, and leave the session to wait for a person's word."""

    async def refuse_stop(self, decision: Decision, text: str) -> None:
        """Keep an agent that is about to end its turn at work, with `text` to go on from.

        Raises `ActionError` where it is not.
        """

    async def notify(self, decision: Decision, to: str | None) -> str:
        """Tell a target of the policy's `escalation`, or every one, about the decision.

        Returns soon, in one sentence what became of it; a delivery that takes longer goes
        on in the background. Raises `ActionError` where it cannot be delivered.
        """

    async def ask(self, decision: Decision, question: str) -> Opinion:
        """Put a question about the agent's work in this turn to the policy's judge.

        Raises `ActionError` where there is no answer.
        """

    def folder(self) -> Path:
        """Where the agent works."""


class ActionParams(BaseModel):
    """Base of every action's parameters; a ladder's rung sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    attempts: int = Field(default=1, strict=True, ge=1, le=1000)
    """How often the rung is taken while it does not help, before the ladder goes on."""

    @property
    def needs(self) -> frozenset[Capability]:
        """What these parameters need of the runtime, besides what their action needs."""
        return frozenset()

    @property
    def restores_files(self) -> bool:
        """Whether the action needs checkpoints of the agent's files."""
        return False


class ActionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an action did. Whether it helped is the outcome's to say."""

    detail: str
    """One sentence for the audit trail."""
    status: OutcomeStatus | None = None
    """How it turned out, where the action itself can tell."""
    at_once: bool = False
    """It has taken effect already: the agent is shown nothing that it begins with."""


class Action(ABC):
    """One way to bring an agent back."""

    name: ClassVar[str]
    """Unique, snake_case; the file's name."""
    Params: ClassVar[type[ActionParams]] = ActionParams
    needs: ClassVar[frozenset[Capability]]
    """A runtime that lacks one of these has the rung skipped."""
    time_limit: ClassVar[timedelta | None] = timedelta(minutes=5)
    """How long it may take; then it has failed, and its ladder goes on. The default is
    longer than running tool calls and an interrupt are waited for. None for what waits for
    somebody else, and bounds that itself."""

    @abstractmethod
    async def run(self, decision: Decision, params: Any, agent: AgentControl) -> ActionResult:
        """Carry the decision out on `agent`; `params` is an instance of `Params`.

        Raises `ActionError` where it cannot.
        """
