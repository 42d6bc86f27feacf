"""`SupervisedClient` and `supervised_query`: the Agent SDK's own, under supervision.

Drop-ins: the same options, the same messages, and no request to the model differs as
long as no rule fires. What Lucid does appears in the stream as `SystemMessage`s with the
subtypes `lucid_verdict`, `lucid_decision`, `lucid_outcome` and `lucid_incident`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self, cast
from uuid import uuid4

import msgspec
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    CLIConnectionError,
    ContextUsageResponse,
    McpStatusResponse,
    Message,
    PermissionMode,
    ResultMessage,
    SessionKey,
    SessionStore,
    SessionStoreEntry,
    SystemMessage,
    Transport,
)

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import LeaseLost
from supervisor.metrics import METRICS
from supervisor.policy.load import load_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.agent import SupervisedAgent
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.feed import user_message
from supervisor.runtime.fork import fork_at
from supervisor.runtime.hold import Hold
from supervisor.runtime.mirror import Mirror
from supervisor.runtime.opening import Opening, take_history, where_to_begin
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.supervision import Event, Supervision
from supervisor.settings import read_settings
from supervisor.store.codec import encode
from supervisor.store.connect import store_at
from supervisor.store.interface import Store

__all__ = ["SupervisedClient", "supervised_query"]

_SUBTYPES: dict[type[Event], str] = {
    Verdict: "lucid_verdict",
    Decision: "lucid_decision",
    Outcome: "lucid_outcome",
}


class SupervisedClient:
    """A drop-in for `ClaudeSDKClient`, on asyncio.

    `policy` is a `Policy`, a file, or the name of a shipped one; `store` an open store,
    the path of an SQLite file or the address of a PostgreSQL database. Both default to the
    settings. A store that is not given open is opened on connect, closed on disconnect.
    """

    def __init__(
        self,
        options: ClaudeAgentOptions | None = None,
        transport: Transport | None = None,
        *,
        policy: Policy | Path | str | None = None,
        store: Store | Path | str | None = None,
    ) -> None:
        self.options = options if options is not None else ClaudeAgentOptions()
        self._transport = transport
        self._policy = policy
        self._store_given = store
        self._store: Store | None = None
        self._opening: Opening | None = None
        self._agent: SupervisedAgent | None = None
        self._supervision: Supervision | None = None
        self._mirror: Mirror | None = None
        self._hold: Hold | None = None
        self._losing: asyncio.Task[None] | None = None
        self._outbox = Outbox()
        self._connected_at = datetime.now(UTC)

    @property
    def session_id(self) -> str | None:
        """The session, known once connected; the same across forks."""
        return self._opening.session_id if self._opening else None

    @property
    def state(self) -> tuple[SessionState, str]:
        """How the session stands, and why, as far as Lucid knows."""
        agent = self._connected()
        return agent.state, agent.state_reason

    async def connect(self, prompt: str | AsyncIterable[dict[str, Any]] | None = None) -> None:
        """Start the agent. Raises `PolicyError`, `StoreError`, and what the SDK raises."""
        policy = self._loaded_policy()
        self._store = await self._opened_store()
        try:
            self._agent = await self._supervised(policy, self._store)
            METRICS.open_sessions.inc()
            METRICS.last_progress.set_to_current_time()
            await self._agent.connect(prompt)
        except BaseException:
            await self.disconnect()
            raise

    def _loaded_policy(self) -> Policy:
        if isinstance(self._policy, Policy):
            return self._policy
        source = self._policy if self._policy is not None else read_settings().policy
        return load_policy(source, detectors=registry.detectors(), actions=registry.actions())

    async def _opened_store(self) -> Store:
        if isinstance(self._store_given, Store):
            return self._store_given
        store = store_at(self._store_given or read_settings().store)
        await store.open()
        return store

    async def _supervised(self, policy: Policy, store: Store) -> SupervisedAgent:
        self._opening = opening = await where_to_begin(self.options, store)
        await store.create_session(opening.session_id, project_key=opening.project_key)
        self._hold = hold = self._held(store, opening.session_id)
        await hold.begin()
        await store.update_session(
            opening.session_id,
            state=SessionState.RUNNING,
            state_reason="",
            head=opening.sdk_session_id,
            cwd=str(self.options.cwd or Path.cwd()),
            policy=policy.model_dump_json(),
            lease=hold.lease,
        )
        self._supervision = supervision = Supervision(
            session_id=opening.session_id,
            store=store,
            policy=policy,
            capabilities=lambda agent_id: self._connected().capabilities(agent_id),
            act=lambda decision: self._connected().act(decision),
            tell=self._tell,
            lease=lambda: hold.lease,
        )
        self._mirror = Mirror(self._take, self.options.session_store)
        if opening.resumes:
            await take_history(opening, supervision)
        if not opening.is_here:
            opening = await self._brought_here(opening)
        boundary = Boundary(supervision)
        return SupervisedAgent(
            session_id=opening.session_id,
            sdk_session_id=opening.sdk_session_id,
            options=boundary.hooked(_mirrored(opening.options, self._mirror)),
            transport=self._transport,
            supervision=supervision,
            boundary=boundary,
            outbox=self._outbox,
            fork=self._fork,
        )

    async def _brought_here(self, opening: Opening) -> Opening:
        """The session, forked at its newest checkpoint to where this agent can resume it."""
        assert self._supervision is not None
        newest = self._supervision.last_checkpoint(opening.sdk_session_id)
        if newest is None:
            # Not in the store either: the SDK says so in its own words.
            return opening
        fork = await self._fork(newest)
        await self._supervision.moved(fork)
        options = replace(opening.options, resume=fork)
        return replace(opening, sdk_session_id=fork, options=options)

    def _held(self, store: Store, session_id: str) -> Hold:
        def lost(error: LeaseLost) -> None:
            self._losing = asyncio.create_task(self._connected().lose(error))

        ttl = timedelta(seconds=read_settings().lease_seconds)
        return Hold(store, session_id, ttl, on_lost=lost)

    async def _fork(self, checkpoint: Checkpoint) -> str:
        assert self._opening is not None
        assert self._store is not None
        assert self._mirror is not None
        return await fork_at(
            checkpoint,
            project_key=self._opening.project_key,
            store=self._store,
            options=self.options,
            take=self._mirror.append,
        )

    async def _take(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        assert self._supervision is not None
        for inherited, group in groupby(entries, self._is_inherited):
            raws = [encode(entry) for entry in group]
            await self._supervision.take(key, raws, inherited=inherited or None)

    def _is_inherited(self, entry: SessionStoreEntry) -> bool:
        """The SDK's own fork mirrors what it copied, unmarked, under the old times."""
        if not self.options.fork_session or "timestamp" not in entry:
            return False
        return datetime.fromisoformat(entry["timestamp"]) < self._connected_at

    def _tell(self, event: Event) -> None:
        subtype = _SUBTYPES.get(type(event), "lucid_incident")
        data = {"type": "system", "subtype": subtype, "uuid": str(uuid4())}
        self._outbox.tell(SystemMessage(subtype, data | msgspec.to_builtins(event)))

    def _connected(self) -> SupervisedAgent:
        if self._agent is None:
            raise CLIConnectionError("Not connected. Call connect() first.")
        return self._agent

    def _inner(self) -> ClaudeSDKClient:
        return self._connected().inner

    # The rest of ClaudeSDKClient, in its order.

    async def receive_messages(self) -> AsyncIterator[Message]:
        """Every message of the session, one stream across forks."""
        self._connected()
        async for message in self._outbox.read():
            yield message

    async def query(
        self, prompt: str | AsyncIterable[dict[str, Any]], session_id: str = "default"
    ) -> None:
        """Send a prompt."""
        await self._connected().query(prompt, session_id)

    async def interrupt(self) -> None:
        """Interrupt the agent, on the caller's behalf."""
        await self._inner().interrupt()

    async def set_permission_mode(self, mode: PermissionMode) -> None:
        """Change the permission mode, in later forks too."""
        await self._inner().set_permission_mode(mode)
        agent = self._connected()
        agent.options = replace(agent.options, permission_mode=mode)

    async def set_model(self, model: str | None = None) -> None:
        """Change the model, in later forks too."""
        await self._inner().set_model(model)
        agent = self._connected()
        agent.options = replace(agent.options, model=model)

    async def rewind_files(self, user_message_id: str) -> None:
        """Rewind files tracked by the process the agent is in now."""
        await self._inner().rewind_files(user_message_id)

    async def reconnect_mcp_server(self, server_name: str) -> None:
        """Reconnect an MCP server."""
        await self._inner().reconnect_mcp_server(server_name)

    async def toggle_mcp_server(self, server_name: str, enabled: bool) -> None:
        """Enable or disable an MCP server in the process the agent is in now."""
        await self._inner().toggle_mcp_server(server_name, enabled)

    async def stop_task(self, task_id: str) -> None:
        """Stop a background task."""
        await self._inner().stop_task(task_id)

    async def get_mcp_status(self) -> McpStatusResponse:
        """The status of the MCP servers."""
        return await self._inner().get_mcp_status()

    async def get_context_usage(self) -> ContextUsageResponse:
        """What fills the context window."""
        return await self._inner().get_context_usage()

    async def get_server_info(self) -> dict[str, Any] | None:
        """What the CLI said when it started."""
        return await self._inner().get_server_info()

    async def receive_response(self) -> AsyncIterator[Message]:
        """Messages up to and with the turn's result."""
        async for message in self.receive_messages():
            yield message
            if isinstance(message, ResultMessage):
                return

    async def disconnect(self) -> None:
        """Stop the agent and let go of the store."""
        agent = self._agent
        try:
            if self._losing is not None:
                await asyncio.gather(self._losing, return_exceptions=True)
            if agent is not None:
                METRICS.open_sessions.dec()
                await agent.disconnect()
        finally:
            self._agent = None
            hold, self._hold = self._hold, None
            if hold is not None:
                await hold.end()
            store, self._store = self._store, None
            if store is not None and store is not self._store_given:
                await store.close()

    async def __aenter__(self) -> Self:
        await self.connect()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool:
        await self.disconnect()
        return False


def _mirrored(options: ClaudeAgentOptions, mirror: Mirror) -> ClaudeAgentOptions:
    """The options with Lucid's mirror in place of the caller's session store."""
    if options.enable_file_checkpointing and options.session_store is None:
        # The SDK refuses checkpoints beside any session store; they work within one
        # process, so ask the CLI for them as the SDK would.
        env = {**options.env, "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true"}
        options = replace(options, enable_file_checkpointing=False, env=env)
    store = cast("SessionStore", mirror)  # duck-typed, as the SDK allows
    return replace(options, session_store=store, session_store_flush="eager")


async def supervised_query(
    *,
    prompt: str | AsyncIterable[dict[str, Any]],
    options: ClaudeAgentOptions | None = None,
    transport: Transport | None = None,
    policy: Policy | Path | str | None = None,
    store: Store | Path | str | None = None,
) -> AsyncIterator[Message]:
    """A drop-in for `query`; `policy` and `store` as for `SupervisedClient`."""
    client = SupervisedClient(options, transport, policy=policy, store=store)
    await client.connect(_once(prompt) if isinstance(prompt, str) else prompt)
    try:
        async for message in client.receive_messages():
            yield message
    finally:
        await client.disconnect()


async def _once(prompt: str) -> AsyncIterator[dict[str, Any]]:
    yield user_message(prompt)
