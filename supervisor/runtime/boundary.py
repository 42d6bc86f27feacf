"""`Boundary`: the moments before and after a tool call, where an agent can be reached.

Through the SDK's hooks, which the agent waits for: a call's intent is written down
before it runs, context is added where the model will read it next, and an agent that is
about to be taken over is held before it starts another call, so that none is cut in two.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import cast

import msgspec
from claude_agent_sdk import ClaudeAgentOptions, HookContext, HookInput, HookJSONOutput, HookMatcher

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.errors import StoreError
from supervisor.runtime.supervision import Supervision
from supervisor.store.codec import encode

__all__ = ["Boundary"]

log = logging.getLogger(__name__)

CATCH_UP_SECONDS = 0.5
"""How long a call may wait for the transcript while an action's outcome is open. The
mirror runs about 0.1 s behind the agent (measured on CLI 2.1.330)."""

HOLD_SECONDS = 45.0
"""How long a call is held for an interrupt that is on its way; then it is denied. Longer
than running calls are waited for, shorter than the SDK's 60 s limit for a hook."""


class Boundary:
    """The tool boundaries of one session's agents."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._context: dict[str | None, list[tuple[Decision, str]]] = {}
        self._running: set[str] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._open = asyncio.Event()
        self._open.set()

    def hooked(self, options: ClaudeAgentOptions) -> ClaudeAgentOptions:
        """The options with this boundary's hooks beside the caller's own."""
        hooks = {event: list(matchers) for event, matchers in (options.hooks or {}).items()}
        hooks.setdefault("PreToolUse", []).append(HookMatcher(hooks=[self._before]))
        for event in ("PostToolUse", "PostToolUseFailure"):
            hooks.setdefault(event, []).append(HookMatcher(hooks=[self._after]))
        return replace(options, hooks=hooks)

    def add_context(self, decision: Decision, text: str) -> None:
        """Have `text` read beside the next tool result of the verdict's agent."""
        self._context.setdefault(decision.verdict.agent_id, []).append((decision, text))
        self._supervision.queued(decision)

    def withdraw_context(self) -> list[Decision]:
        """Forget the texts that nothing was shown beside; returns whose they were."""
        decisions = [decision for texts in self._context.values() for decision, _ in texts]
        self._context.clear()
        return decisions

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

    def ended(self, call_id: str) -> None:
        """A tool call has its result."""
        self._running.discard(call_id)
        if not self._running:
            self._idle.set()

    def reopen(self) -> None:
        """Let calls start again; those that ran in the agent's former process are gone."""
        self._running.clear()
        self._idle.set()
        self._open.set()

    async def _before(
        self, hook: HookInput, call_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        call, agent_id = call_id or "", _agent_id(hook)
        await self._write_intent(hook, call, agent_id)
        if self._supervision.is_watching(agent_id):
            await self._supervision.caught_up(call, CATCH_UP_SECONDS)
        if agent_id is None:
            if not await self._may_start():
                return _deny("Lucid is about to bring this agent back: the call was not run.")
            self._running.add(call)
            self._idle.clear()
        return self._shown("PreToolUse", call, agent_id)

    async def _after(
        self, hook: HookInput, call_id: str | None, context: HookContext
    ) -> HookJSONOutput:
        call = call_id or ""
        self.ended(call)
        return self._shown(hook["hook_event_name"], call, _agent_id(hook))

    async def _write_intent(self, hook: HookInput, call: str, agent_id: str | None) -> None:
        intent = Intent(
            session_id=self._supervision.session_id,
            call_id=call,
            tool=str(hook.get("tool_name")),
            input=msgspec.Raw(encode(cast("Mapping[str, object]", hook.get("tool_input") or {}))),
            agent_id=agent_id,
            at=datetime.now(UTC),
        )
        try:
            await self._supervision.intend(intent)
        except StoreError as error:
            # Fail open for the agent, loudly for the operator.
            log.error("session %s: intent not written: %s", intent.session_id, error)

    async def _may_start(self) -> bool:
        try:
            async with asyncio.timeout(HOLD_SECONDS):
                await self._open.wait()
        except TimeoutError:
            return False
        return True

    def _shown(self, event: str, call: str, agent_id: str | None) -> HookJSONOutput:
        queued = self._context.pop(agent_id, [])
        texts = [item for item in queued if self._supervision.is_pending(item[0])]
        if not texts:
            return {}
        for decision, _ in texts:
            self._supervision.shown(decision, call)
        joined = "\n\n".join(text for _, text in texts)
        output = {"hookSpecificOutput": {"hookEventName": event, "additionalContext": joined}}
        return cast("HookJSONOutput", output)


def _agent_id(hook: HookInput) -> str | None:
    agent_id = hook.get("agent_id")
    return agent_id if isinstance(agent_id, str) else None


def _deny(reason: str) -> HookJSONOutput:
    return {
        "hookSpecificOutput": {
            "hookEventName": "PreToolUse",
            "permissionDecision": "deny",
            "permissionDecisionReason": reason,
        }
    }
