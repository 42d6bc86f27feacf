"""`SupervisedClient`: the Agent SDK's own client, under supervision.

A drop-in: the same options, the same messages, and no request to the model differs as
long as no rule fires. What Lucid does appears in the stream as `SystemMessage`s with the
subtypes `lucid_verdict`, `lucid_decision`, `lucid_outcome` and `lucid_incident`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self
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
    SessionStoreEntry,
    SystemMessage,
    Transport,
)

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.interruption import Interruption
from supervisor.core.outcome import Outcome
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.errors import LeaseLost
from supervisor.policy.load import Loaded, read_policy
from supervisor.policy.model import Policy
from supervisor.policy.reach import RunMode, out_of_reach
from supervisor.runtime import registry
from supervisor.runtime.agent import SupervisedAgent
from supervisor.runtime.bearings import chooses, record_in
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.escalation import Escalations, told_before
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.runtime.fork import fork_at
from supervisor.runtime.hold import Hold
from supervisor.runtime.mirror import Mirror
from supervisor.runtime.opening import Opening, take_history, take_last_words, where_to_begin
from supervisor.runtime.outages import announcing_waits
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.protection import StoreNews
from supervisor.runtime.reload import PolicyWatch
from supervisor.runtime.supervision import Event, Supervision
from supervisor.settings import read_settings
from supervisor.store.codec import encode
from supervisor.store.connect import store_at
from supervisor.store.interface import Store
from supervisor.store.spool import SpooledStore

__all__ = ["SupervisedClient"]

log = logging.getLogger(__name__)

_SUBTYPES: dict[type[Event], str] = {
    Verdict: "lucid_verdict",
    Decision: "lucid_decision",
    Outcome: "lucid_outcome",
}


class SupervisedClient:
    """A drop-in for `ClaudeSDKClient`, on asyncio.

    `policy` is a `Policy`, a file, the name of a shipped one, or what was read of a file;
    `store` an open store, the path of an SQLite file or the address of a PostgreSQL database.
    Both default to the settings. A store that is not given open is opened on connect, closed
    on disconnect. A policy that was read from a file is read again whenever the file changes.
    `labels` are what its rules may ask for, beside those of the settings.
    """

    def __init__(
        self,
        options: ClaudeAgentOptions | None = None,
        transport: Transport | None = None,
        *,
        policy: Policy | Loaded | Path | str | None = None,
        store: Store | Path | str | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> None:
        self.options = options if options is not None else ClaudeAgentOptions()
        self._transport = transport
        self._policy = policy
        self._store_given = store
        self._labels = labels or {}
        self._watching: asyncio.Task[None] | None = None
        self._store: Store | None = None
        self._opening: Opening | None = None
        self._agent: SupervisedAgent | None = None
        self._supervision: Supervision | None = None
        self._mirror: Mirror | None = None
        self._hold: Hold | None = None
        self._losing: asyncio.Task[None] | None = None
        self._outbox = Outbox()
        self._left_in = ""
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
        loaded = self._loaded_policy()
        policy = loaded.policy
        self._store = store = await self._opened_store(policy)
        try:
            self._agent = await self._supervised(policy, store)
            await self._agent.connect(prompt)
            self._watch(loaded)
        except BaseException:
            await self.disconnect()
            raise

    def _loaded_policy(self) -> Loaded:
        if isinstance(self._policy, Policy):
            return Loaded(self._policy, ())
        if isinstance(self._policy, Loaded):
            return self._policy
        source = self._policy if self._policy is not None else read_settings().policy
        return read_policy(source, detectors=registry.detectors(), actions=registry.actions())

    def _watch(self, loaded: Loaded) -> None:
        """Say what of the policy cannot be done here, and follow its files."""
        supervision = self._supervision
        assert supervision is not None
        mode = RunMode.WRAPPER if self._transport is None else RunMode.TRANSPORT
        for problem in out_of_reach(loaded.policy, mode, actions=registry.actions()):
            log.warning("policy: %s", problem)
        if loaded.files:
            watch = PolicyWatch(
                loaded, supervision.use, lambda said: supervision.note("policy", said)
            )
            self._watching = asyncio.create_task(watch.run())

    async def _opened_store(self, policy: Policy) -> SpooledStore:
        settings, given = read_settings(), self._store_given
        lent = isinstance(given, Store)
        wait = timedelta(seconds=settings.store_wait_seconds)
        inner = given if isinstance(given, Store) else store_at(given or settings.store, wait=wait)
        news = StoreNews(policy.store, note=self._note_on_store, on_lost=self._lose)
        store = SpooledStore(  # type: ignore[abstract] # a decorator makes what is missing
            inner, settings.spool, lent=lent, listener=news
        )
        await store.open()
        return store

    async def _note_on_store(self, message: str) -> None:
        if self._supervision is not None:
            await self._supervision.note("store", message)

    async def _supervised(self, policy: Policy, store: SpooledStore) -> SupervisedAgent:
        hold = await self._begun(policy, store)
        self._supervision = supervision = self._supervision_of(policy, store, hold)
        if chooses(policy):
            supervision.bearings.know(await record_in(store))
        self._mirror = Mirror(self._take, self.options.session_store)
        opening = await self._with_history(supervision)
        files = FileKeeping(
            supervision,
            store,
            Path(self.options.cwd or Path.cwd()),
            # Where an agent works that a transport of the caller's leads to is not known.
            takes=policy.checkpoints_files and self._transport is None,
            lease=lambda: hold.lease,
        )
        await files.begin()
        supervision.began()
        boundary = Boundary(supervision, store, files)
        options = self._mirror.of(opening.options)
        if policy.answers(FailureMode.INTERRUPTION):
            options = announcing_waits(options)
        told = await told_before(store, opening.session_id) if opening.resumes else ()
        return SupervisedAgent(
            session_id=opening.session_id,
            process=AgentProcess(boundary.hooked(options), self._transport, opening.sdk_session_id),
            supervision=supervision,
            boundary=boundary,
            files=files,
            outbox=self._outbox,
            escalations=Escalations(policy.escalation, supervision, told=told),
            fork=self._fork,
            recover=self._recover,
        )

    async def _begun(self, policy: Policy, store: SpooledStore) -> Hold:
        """Write down that the session begins, or goes on, here: under a lease."""
        self._opening = opening = await where_to_begin(self.options, store)
        self._left_in = opening.sdk_session_id
        await store.create_session(opening.session_id, project_key=opening.project_key)
        self._hold = hold = await self.hold(store, opening.session_id)
        await store.update_session(
            opening.session_id,
            state=SessionState.RUNNING,
            state_reason="",
            head=opening.sdk_session_id,
            cwd=str(self.options.cwd or Path.cwd()),
            policy=policy.model_dump_json(),
            lease=hold.lease,
        )
        return hold

    def _supervision_of(self, policy: Policy, store: SpooledStore, hold: Hold) -> Supervision:
        assert self._opening is not None
        return Supervision(
            session_id=self._opening.session_id,
            store=store,
            policy=policy,
            capabilities=lambda agent_id: self._connected().capabilities(agent_id),
            act=lambda decision: self._connected().act(decision),
            tell=self._tell,
            lease=lambda: hold.lease,
            labels={**read_settings().labels, **self._labels},
        )

    async def _with_history(self, supervision: Supervision) -> Opening:
        """Bring what is known of the session back to mind; returns where it goes on."""
        assert self._opening is not None
        opening = self._opening
        if opening.resumes:
            await take_history(opening, supervision)
        if not opening.is_here or supervision.gaps:
            opening = await self._brought_here(opening)
        for gap in supervision.gaps:
            broken = "its parent is not there: the transcript was forked, and joined over the gap"
            await supervision.note("ingest", broken, seq=gap)
        return opening

    async def _brought_here(self, opening: Opening) -> Opening:
        """The session, forked at its newest checkpoint to where this agent can resume it."""
        assert self._supervision is not None
        newest = self._supervision.last_checkpoint(opening.sdk_session_id)
        if newest is not None:
            head = await self._fork(newest)
            options = replace(opening.options, resume=head)
        elif opening.is_known:
            # Its process died before a prompt was written down: it begins now.
            head = str(uuid4())
            options = replace(opening.options, resume=None, session_id=head)
        else:
            # Not in the store either: the SDK says so in its own words.
            return opening
        await self._supervision.moved(head)
        return replace(opening, sdk_session_id=head, options=options)

    async def hold(self, store: Store, session_id: str) -> Hold:
        """Take the session before anything of it is changed; raises `LeaseHeld` where
        another worker has it. To be extended where more must be true."""
        ttl = timedelta(seconds=read_settings().lease_seconds)
        hold = Hold(store, session_id, ttl, on_lost=self._lose)
        await hold.begin()
        return hold

    def _lose(self, error: LeaseLost) -> None:
        if self._losing is None and self._agent is not None:
            self._losing = asyncio.create_task(self._agent.lose(error))

    async def _fork(self, checkpoint: Checkpoint, masking: Collection[int] = ()) -> str:
        assert self._opening is not None
        assert self._store is not None
        assert self._mirror is not None
        return await fork_at(
            checkpoint,
            project_key=self._opening.project_key,
            store=self._store,
            options=self.options,
            take=self._mirror.append,
            masking=masking,
        )

    async def _recover(self, sdk_session_id: str) -> None:
        assert self._opening is not None
        assert self._supervision is not None
        await take_last_words(self._opening, sdk_session_id, self._supervision)

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

    # What a session's worker needs besides.

    async def go_on(
        self, *, insist: bool = True, restore_files: bool | None = None
    ) -> Interruption:
        """Go on with the last turn of a resumed session, in the way that fits what ended it.

        Call it once, after `connect`, in place of a first prompt. Where `retryable` is true
        of what it returns, the turn is under way, or its answer was at hand: read
        `receive_response`. Where it is false, nothing was sent: the cause needs a person.

        With `insist`, it goes on whatever the policy says; without, the policy's rules and
        budgets for interruptions apply, if it has any. `restore_files` brings the agent's
        files to the session's newest checkpoint first; None only where its folder is empty.
        What differs is told to the agent.

        Raises `SupervisorError` where the policy, or the agent's process, does not let it go
        on, and where there is nothing to go on with.
        """
        agent = self._connected()
        assert self._opening is not None
        return await agent.go_on(
            self._opening.failure, self._left_in, insist=insist, restore_files=restore_files
        )

    async def drain(self, within: float) -> None:
        """Let go of the session in good order, in at most `within` seconds, so that another
        worker can go on with it at once.

        The agent is stopped at its next tool boundary, or where it is when the time is up.
        The stream ends with `Drained`; disconnect next, which releases the lease. A session
        between two turns is left as it is.
        """
        await self._connected().drain(within)

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
        watching, self._watching = self._watching, None
        try:
            if watching is not None:
                watching.cancel()
                await asyncio.gather(watching, return_exceptions=True)
            if self._losing is not None:
                await asyncio.gather(self._losing, return_exceptions=True)
            if agent is not None:
                await agent.disconnect()
        finally:
            if self._supervision is not None:
                self._supervision.ended()
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
