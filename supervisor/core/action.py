"""`Action`: the interface every recovery implements, and what it may do to an agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from enum import StrEnum
from typing import Any, ClassVar, Protocol

import msgspec
from pydantic import BaseModel, ConfigDict

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.verdict import Verdict

__all__ = ["Action", "ActionParams", "ActionResult", "AgentControl", "Capability"]


class Capability(StrEnum):
    """What a runtime can do to its agent."""

    ADD_CONTEXT = "add_context"
    PROMPT = "prompt"
    BRANCH = "branch"
    STOP = "stop"


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

    async def branch(self, decision: Decision, checkpoint: Checkpoint, text: str) -> None:
        """End the turn, fork the transcript at `checkpoint`, go on there with `text`.

        The old branch stays in the store.
        """

    async def stop(self, decision: Decision, reason: str) -> None:
        """End the turn and the session's supervision with it."""


class ActionParams(BaseModel):
    """Base of every action's parameters; a ladder's rung sets them."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ActionResult(msgspec.Struct, frozen=True, kw_only=True):
    """What an action did. Whether it helped is the outcome's to say."""

    detail: str
    """One sentence for the audit trail."""


class Action(ABC):
    """One way to bring an agent back."""

    name: ClassVar[str]
    """Unique, snake_case; the file's name."""
    Params: ClassVar[type[ActionParams]] = ActionParams
    needs: ClassVar[frozenset[Capability]]
    """A runtime that lacks one of these has the rung skipped."""

    @abstractmethod
    async def run(self, decision: Decision, params: Any, agent: AgentControl) -> ActionResult:
        """Carry the decision out on `agent`; `params` is an instance of `Params`.

        Raises `ActionError` where it cannot.
        """
