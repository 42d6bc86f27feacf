"""`Boundary`: the moments before and after a tool call, where an agent can be reached.

Through the SDK's hooks, which the agent waits for: a call's intent is written down
before it runs, context is added where the model will read it next, and an agent that is
about to be taken over is held before it starts another call, so that none is cut in two.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import msgspec
from claude_agent_sdk import ClaudeAgentOptions, HookContext, HookInput, HookJSONOutput, HookMatcher

from supervisor.core.action import Denial
from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.errors import LeaseLost
from supervisor.runtime.beside import Beside
from supervisor.runtime.denials import Denials
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.runtime.listening import Listening
from supervisor.runtime.protection import Protection
from supervisor.runtime.stopping import STOP_SECONDS, Stopping
from supervisor.runtime.stops import decides_on_stops
from supervisor.runtime.supervision import Supervision
from supervisor.store.codec import encode
from supervisor.store.spool import SpooledStore

__all__ = ["Boundary", "denied", "told"]

CATCH_UP_SECONDS = 0.5
"""How long a call may wait for the transcript while an action's outcome is open. The
mirror runs about 0.1 s behind the agent (measured on CLI 2.1.330)."""

HOLD_SECONDS = 45.0
"""How long a call is held for an interrupt that is on its way; then it is denied. Longer
than running calls are waited for."""

_WRITTEN_SECONDS = 3.0
"""How long an agent that stands still is waited for to have written its transcript."""


_STOPS_REFUSED = "CLAUDE_CODE_STOP_HOOK_BLOCK_CAP"
"""How often in a row the CLI lets a hook keep the agent at work: 8 by default, 0 for no limit
(CLI 2.1.330). The policy has limits of its own."""


class Boundary:
    """The tool boundaries of one session's agents."""

    def __init__(
        self,
        supervision: Supervision,
        store: SpooledStore | None = None,
        files: FileKeeping | None = None,
    ) -> None:
        """`store` is where the supervision writes, if it can be away; `files` hears of calls."""
        self._supervision = supervision
        self._files = files
        self._protection = Protection(supervision, store)
        self._pausing = 0
        self._beside = Beside(supervision)
        self._denials = Denials(supervision.outcomes.is_pending, supervision.outcomes.shown)
        self._running: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()
        self._held = asyncio.Event()
        self._held_call = ""
        self._draining = False
        self.listening = Listening(supervision, store)
        """What people say meanwhile."""
        self.stopping = Stopping(supervision, self.listening)
        """The moment before a turn's end."""

    def hooked(self, options: ClaudeAgentOptions) -> ClaudeAgentOptions:
        """The options with this boundary's hooks beside the caller's own."""
        env = options.env
        hooks = {event: list(matchers) for event, matchers in (options.hooks or {}).items()}
        longest = self._protection.longest_pause.total_seconds() + 2 * HOLD_SECONDS
        before = HookMatcher(hooks=[self._before], timeout=longest)
        hooks.setdefault("PreToolUse", []).append(before)
        for event in ("PostToolUse", "PostToolUseFailure"):
            hooks.setdefault(event, []).append(HookMatcher(hooks=[self._after]))
        if decides_on_stops(self._supervision.policy):
            leave = HookMatcher(hooks=[self.stopping.asked], timeout=STOP_SECONDS)
            hooks.setdefault("Stop", []).append(leave)
            env = {_STOPS_REFUSED: "0", **env}
        return replace(options, hooks=hooks, env=env)

    def add_context(self, decision: Decision, text: str) -> None:
        """Have `text` read beside the next tool result of the verdict's agent."""
        self._beside.add(decision, text)

    def tell(self, agent_id: str | None, text: str) -> None:
        """Have an agent read beside its next tool result what was done to another; nothing
        depends on whether it does."""
        self._beside.tell(agent_id, text)

    def deny(self, decision: Decision, denial: Denial) -> None:
        """Deny these calls of the verdict's agent from now on."""
        self._denials.add(decision, denial)
        self._supervision.queued(decision)

    def withdraw_context(self) -> list[Decision]:
        """Forget the texts that nothing was shown beside; returns whose they were."""
        return self._beside.withdraw()

    async def close(self, within: float) -> bool:
        """Let no further call start, and wait for those that run, at most `within`
        seconds; returns whether they all ended."""
        self._open.clear()
        try:
            async with asyncio.timeout(within):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    async def drain(self) -> None:
        """Let no further call start, a subagent's neither, and return once the agent stands
        still at a tool boundary: none of its calls runs, one is held, and the transcript has
        been read up to that one, unless that takes too long."""
        self._draining = True
        self._open.clear()
        await self._held.wait()
        await self._idle.wait()
        await self._supervision.progress.caught_up(self._held_call, _WRITTEN_SECONDS)

    @property
    def is_running(self) -> bool:
        """Whether a tool call of the main agent is under way."""
        return bool(self._running)

    @property
    def is_holding(self) -> bool:
        """Whether calls may have to wait here, so that the agent's silence is our doing."""
        return not self._open.is_set() or self._pausing > 0 or self.stopping.is_open

    def ended(self, call_id: str) -> None:
        """A tool call has its result."""
        if self._files is not None:
            self._files.ended(call_id)
        self._running.discard(call_id)
        if not self._running:
            self._idle.set()

    def reopen(self) -> None:
        """Let calls start again; those that ran in the agent's former process are gone."""
        if self._files is not None:
            self._files.cut_off()
        self._running.clear()
        self._idle.set()
        self._held.clear()
        self._open.set()

    async def _before(
        self, hook: HookInput, call_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        call, agent_id = call_id or "", _agent_id(hook)
        if self._supervision.outcomes.is_open(agent_id):
            await self._supervision.progress.caught_up(call, CATCH_UP_SECONDS)
        intent = self._intent(hook, call, agent_id)
        try:
            refusal = self._denials.reason(intent) or await self._refusal(intent)
        except LeaseLost as error:
            refusal = f"Not run: {error}"
        return self._shown("PreToolUse", call, agent_id) if refusal is None else denied(refusal)

    async def _refusal(self, intent: Intent) -> str | None:
        """Let the call run, which returns None, or say why it may not."""
        since = time.monotonic()
        while True:
            # Held before the intent is written: what never starts must not look as if it had.
            if not await self._may_start(intent):
                return "Lucid is about to bring this agent back: the call was not run."
            if intent.agent_id is None:
                self._running.add(intent.call_id)
                self._idle.clear()
            if await self._protection.covers(intent):
                if self._files is not None:
                    await self._files.before(intent.call_id, intent.tool, intent.agent_id)
                return None
            self.ended(intent.call_id)
            if not await self._pause(intent, since):
                return await self._protection.refusal(intent)

    async def _pause(self, intent: Intent, since: float) -> bool:
        self._holds(intent)
        self._pausing += 1
        try:
            return await self._protection.wait(since)
        finally:
            self._pausing -= 1
            if self._open.is_set():
                self._held.clear()

    async def _after(
        self, hook: HookInput, call_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        call = call_id or ""
        self.ended(call)
        return self._shown(hook["hook_event_name"], call, _agent_id(hook))

    def _intent(self, hook: HookInput, call: str, agent_id: str | None) -> Intent:
        return Intent(
            session_id=self._supervision.session_id,
            call_id=call,
            tool=str(hook.get("tool_name")),
            input=msgspec.Raw(encode(cast("Mapping[str, object]", hook.get("tool_input") or {}))),
            agent_id=agent_id,
            at=datetime.now(UTC),
        )

    async def _may_start(self, intent: Intent) -> bool:
        if self._open.is_set() or (intent.agent_id is not None and not self._draining):
            return True
        self._holds(intent)
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await self._open.wait()
        except TimeoutError:
            return False
        return True

    def _holds(self, intent: Intent) -> None:
        if intent.agent_id is None:
            self._held_call = intent.call_id
            self._held.set()

    def _shown(self, event: str, call: str, agent_id: str | None) -> HookJSONOutput:
        word = self.listening.take() if agent_id is None else None
        joined = self._beside.take(agent_id, call, word)
        return {} if joined is None else told(event, joined)


def _agent_id(hook: HookInput) -> str | None:
    agent_id = hook.get("agent_id")
    return agent_id if isinstance(agent_id, str) else None


def told(event: str, text: str) -> HookJSONOutput:
    """A hook's answer by which the model reads `text` beside a tool's result."""
    output = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": text}}
    return cast("HookJSONOutput", output)


def denied(reason: str) -> HookJSONOutput:
    """The answer by which a call does not run, and the model reads why as its result."""
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
