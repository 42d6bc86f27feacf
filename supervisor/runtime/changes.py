"""`Changes`: what an action changes about how the agent goes on with its turn.

Each is a takeover: the turn is ended, the change is made, and the agent goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from datetime import datetime
from typing import Any

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.errors import ActionError
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.ruling import LEFT_OPEN
from supervisor.runtime.steering import Steering
from supervisor.runtime.supervision import Supervision
from supervisor.runtime.takeover import Takeover

__all__ = ["Changes", "switched"]

_SWITCHES = {"switch_model": "model", "switch_effort": "effort"}
"""Actions whose effect stays, and the option that each sets."""


def switched(
    decisions: Iterable[Decision], outcomes: Iterable[Outcome], since: datetime | None
) -> dict[str, Any]:
    """The options that a session's actions have set and that hold by now. Those from before
    `since`, when a person chose, do not."""
    nothing_done = {one.decision_id for one in outcomes if not _may_have_run(one)}
    carried_out = {one.decision_id for one in outcomes if _may_have_run(one)}
    return {
        _SWITCHES[one.action]: one.params["to"]
        for one in decisions
        if one.choice is Choice.ACT
        and one.action in _SWITCHES
        and "to" in one.params
        and (one.id in carried_out or one.id not in nothing_done)
        and (since is None or one.at > since)
    }


def _may_have_run(outcome: Outcome) -> bool:
    return bool(outcome.did) or outcome.reason == LEFT_OPEN


class Changes:
    """Makes the takeovers of one session's agent that change what it runs on. Raises
    `ActionError`, before anything is done, where the change cannot be made."""

    def __init__(self, process: AgentProcess, supervision: Supervision, steering: Steering) -> None:
        self._process = process
        self._supervision = supervision
        self._steering = steering

    def compact(self, instructions: str, go_on: Callable[[str], str]) -> Takeover:
        """The context is compacted; then comes what `go_on` makes of the summary."""
        before = self._supervision.progress.compactions

        async def begin() -> None:
            if self._supervision.progress.compactions <= before:
                raise ActionError("the runtime compacted nothing")
            await self._steering.say(go_on(self._supervision.progress.summary))

        return Takeover("change", begin=begin, command=f"/compact {instructions}")

    def mask(self, verdict: Verdict, seqs: Collection[int], text: str) -> Takeover:
        """Goes on in a fork without what these results held."""
        if verdict.transcript != self._process.sdk_id:
            raise ActionError("the agent has left the transcript that the results stand in")
        newest = self._newest()

        async def begin() -> None:
            await self._steering.branch(newest, text, restore_files=False, masking=seqs)

        return Takeover("change", begin=begin)

    def restart(self, prompt: str, text: str) -> Takeover:
        """Begins a new transcript."""

        async def begin() -> None:
            await self._steering.begin_anew(prompt, text)

        return Takeover("change", begin=begin)

    def switch(self, text: str, *, model: str | None, effort: str | None) -> Takeover:
        """Goes on in a process with another model or effort."""
        newest = self._newest()

        async def begin() -> None:
            before = self._process.options
            self.set(model=model, effort=effort)
            try:
                await self._steering.branch(newest, text, restore_files=False)
            except BaseException:
                self._process.options = before
                raise

        return Takeover("change", begin=begin)

    def set(self, *, model: str | None, effort: str | None) -> None:
        """What the agent's next process starts with."""
        given: dict[str, Any] = {"model": model, "effort": effort}
        changes = {name: value for name, value in given.items() if value is not None}
        self._process.options = replace(self._process.options, **changes)

    def _newest(self) -> Checkpoint:
        newest = self._supervision.last_checkpoint(self._process.sdk_id)
        if newest is None:
            raise ActionError("there is no checkpoint to go on from yet")
        return newest
