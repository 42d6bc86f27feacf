"""`AgentProcess`: the process an agent runs in, one after another.

A fork, or an agent whose process is gone, goes on in a new process. What stays the same is
kept here: the options, the caller's input, and who reads it now.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, Transport

from supervisor.runtime.feed import Feed
from supervisor.runtime.keeper import (
    KILL_GRACE_SECONDS,
    agent_process,
    disconnected,
    kept,
    kill_tree,
)

__all__ = ["AgentProcess", "patience"]


class AgentProcess:
    """Where the agent runs now. Every agent dies with this process, whatever ends it."""

    def __init__(
        self, options: ClaudeAgentOptions, transport: Transport | None, sdk_session_id: str
    ) -> None:
        self.options = options
        """The caller's, as changed since; a successor starts with them."""
        self.client = _client(options, transport)
        """The SDK client of the process the agent is in now."""
        self.sdk_id = sdk_session_id
        """The transcript it writes."""
        self.is_callers = transport is not None
        """It is reached by a transport of the caller's, and so cannot be started anew."""
        self.feed: Feed | None = None
        """The caller's input, where it is streamed."""

    async def begin(self, feed: Feed | None) -> None:
        """Start the first process."""
        self.feed = feed
        await self.client.connect(feed.messages() if feed is not None else None)

    async def move(self, sdk_session_id: str, *, resume: bool, max_turns: int | None) -> None:
        """Go on in a new process, in the transcript `sdk_session_id`, which is there already
        (`resume`) or begins now. The former process is ended, its last words recorded."""
        options = replace(
            self.options,
            resume=sdk_session_id if resume else None,
            session_id=None if resume else sdk_session_id,
            fork_session=False,
            continue_conversation=False,
            resume_session_at=None,
            resume_drops_turn=None,
            max_turns=max_turns,
        )
        client = _client(options)
        await client.connect(self.feed.messages() if self.feed is not None else None)
        former, self.client, self.sdk_id = self.client, client, sdk_session_id
        await disconnected(former)

    async def send(self, message: dict[str, Any], session_id: str = "default") -> None:
        """Put a prompt to the agent; one of Lucid's goes behind what the caller streams."""
        await self.client.query(_only(message), session_id)

    async def say(self, message: dict[str, Any]) -> None:
        """Put a prompt of Lucid's to the agent, behind what the caller streams."""
        if self.feed is not None:
            await self.feed.say(message)
        else:
            await self.send(message)

    async def end(self, *, grace: float = KILL_GRACE_SECONDS) -> None:
        """End the process and all that it started, and take in what it said last."""
        await self.kill(grace=grace)
        await disconnected(self.client)

    async def kill(self, *, grace: float = KILL_GRACE_SECONDS) -> None:
        """End the process and all that it started, after `grace` seconds by force; the
        stream of its messages ends then."""
        process = agent_process(self.client)
        if process is not None:
            await kill_tree(process, grace=grace)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs, as far as it is ours to know."""
        return self.is_callers or agent_process(self.client) is not None


def patience(*, amid_call: bool) -> float:
    """What a process that is to be ended may take, in seconds. None at all in the midst of a
    tool call: told to end, the runtime would end the call first and pass on what is left of
    it as its result."""
    return 0.0 if amid_call else KILL_GRACE_SECONDS


def _client(options: ClaudeAgentOptions, transport: Transport | None = None) -> ClaudeSDKClient:
    return ClaudeSDKClient(options if transport is not None else kept(options), transport)


async def _only(message: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
    yield message
