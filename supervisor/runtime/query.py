"""`supervised_query`: the Agent SDK's `query`, under supervision."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Mapping
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions, Message, Transport

from supervisor.policy.model import Policy
from supervisor.runtime.client import SupervisedClient
from supervisor.runtime.feed import user_message
from supervisor.store.interface import Store

__all__ = ["supervised_query"]


async def supervised_query(
    *,
    prompt: str | AsyncIterable[dict[str, Any]],
    options: ClaudeAgentOptions | None = None,
    transport: Transport | None = None,
    policy: Policy | Path | str | None = None,
    store: Store | Path | str | None = None,
    labels: Mapping[str, str] | None = None,
) -> AsyncIterator[Message]:
    """A drop-in for `query`; the last three as for `SupervisedClient`."""
    client = SupervisedClient(options, transport, policy=policy, store=store, labels=labels)
    await client.connect(_once(prompt) if isinstance(prompt, str) else prompt)
    try:
        async for message in client.receive_messages():
            yield message
    finally:
        await client.disconnect()


async def _once(prompt: str) -> AsyncIterator[dict[str, Any]]:
    yield user_message(prompt)
