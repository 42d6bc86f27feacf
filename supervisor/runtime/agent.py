"""`SupervisedAgent`: one agent on the Claude Agent SDK, driven and steered.

It follows the SDK's messages from process to process and passes them on as one stream,
and it is the `AgentControl` that recovery actions steer the agent by.

An action that ends the agent's turn takes it over: no further tool call starts, running
ones may end, the SDK is interrupted, and when its result arrives the action's own prompt
follows, in the same process or in a fork. The interrupted part's result is kept from the
caller, whose turn is still open.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    MirrorErrorMessage,
    ResultMessage,
    SystemMessage,
    TextBlock,
    ToolResultBlock,
    Transport,
    UserMessage,
)

from supervisor.core.action import Capability
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Decision
from supervisor.core.feedback import addressed
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import ActionError, SupervisorError
from supervisor.runtime import registry
from supervisor.runtime.boundary import Boundary
from supervisor.runtime.feed import Feed
from supervisor.runtime.keeper import agent_process, kept, kill_tree
from supervisor.runtime.ledger import Ledger
from supervisor.runtime.outbox import Outbox
from supervisor.runtime.supervision import Supervision

__all__ = ["SupervisedAgent"]

log = logging.getLogger(__name__)

TOOL_GRACE_SECONDS = 30.0
"""How long an action waits for running tool calls before it interrupts them."""

LEAVING_SECONDS = 3.0
"""How long an agent that is left in the midst of a turn may take to stop by itself."""

Prompts = AsyncIterable[dict[str, Any]]
Fork = Callable[[Checkpoint], Awaitable[str]]


class _TurnOver(ActionError):
    """The turn ended by itself before the action could take it over."""


def _future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


@dataclass(eq=False)
class _Takeover:
    """An action on its way to end the agent's turn and begin another."""

    kind: Literal["prompt", "branch", "stop"]
    text: str
    checkpoint: Checkpoint | None = None
    interrupted: bool = False
    done: asyncio.Future[None] = field(default_factory=_future)


class SupervisedAgent:
    """Drives one session's agent; see the module. Lives in one event loop."""

    def __init__(
        self,
        *,
        session_id: str,
        sdk_session_id: str,
        options: ClaudeAgentOptions,
        transport: Transport | None,
        supervision: Supervision,
        boundary: Boundary,
        outbox: Outbox,
        fork: Fork,
    ) -> None:
        """`session_id` is the one that the caller sees. `fork(checkpoint)` makes a fork and
        returns its SDK session id."""
        self.options = options
        self.state = SessionState.RUNNING
        self.state_reason = ""
        self._seen_id = session_id
        self._sdk_id = sdk_session_id
        self._can_branch = transport is None
        self._supervision = supervision
        self._boundary = boundary
        self._outbox = outbox
        self._fork = fork
        self._inner = _client(options, transport)
        self._feed: Feed | None = None
        self._ledger = Ledger()
        self._takeover: _Takeover | None = None
        self._turn_open = False
        self._quiet = False
        self._switching = asyncio.Lock()
        self._actions: set[asyncio.Task[None]] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def inner(self) -> ClaudeSDKClient:
        """The SDK client of the process the agent is in now."""
        return self._inner

    # What the caller does.

    async def connect(self, prompt: str | Prompts | None) -> None:
        """Start the agent, as `ClaudeSDKClient.connect` does."""
        if isinstance(prompt, AsyncIterable):
            self._feed = Feed(prompt, self._begin_turn)
            await self._inner.connect(self._feed.messages())
            self._spawn(self._end_feed_when_exhausted(self._feed))
        else:
            if prompt is not None:
                self._begin_turn()
            await self._inner.connect(prompt)
        self._spawn(self._drive())

    async def query(self, prompt: str | Prompts, session_id: str) -> None:
        """Send a prompt, as `ClaudeSDKClient.query` does."""
        if isinstance(prompt, str):
            await self._send(prompt, session_id)
            return
        async for message in prompt:
            await self._send(_only(message), session_id)

    async def _send(self, prompt: str | Prompts, session_id: str) -> None:
        if self.state is SessionState.ABORTED:
            raise SupervisorError(
                f"the policy stopped this session: {self.state_reason}. "
                "Resume it in a new client to go on."
            )
        async with self._switching:
            self._begin_turn()
            await self._inner.query(prompt, session_id)

    async def disconnect(self) -> None:
        """Stop the agent, as `ClaudeSDKClient.disconnect` does.

        One in the midst of a turn is interrupted first: left to itself, the CLI works on
        for five seconds after its input has ended, and nobody supervises or records it.
        """
        turn_was_open, self._turn_open = self._turn_open, False
        for task in self._tasks | self._actions:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._actions, return_exceptions=True)
        if self._feed is not None:
            await self._feed.close()
        if turn_was_open:
            with suppress(Exception):  # the SDK raises bare Exception; it may be gone, too
                async with asyncio.timeout(LEAVING_SECONDS):
                    await self._inner.interrupt()
        await self._inner.disconnect()
        if self.state is SessionState.RUNNING:
            self.state = SessionState.CLOSED
        await self._supervision.finish()
        await asyncio.gather(*self._actions, return_exceptions=True)
        await self._supervision.conclude(self.state, self.state_reason)

    # What actions do (`AgentControl`).

    def capabilities(self, agent_id: str | None) -> frozenset[Capability]:
        """Everything for the main agent, but that a custom transport cannot be started
        anew. A subagent can only be told something: it is not ours to end its parent."""
        if agent_id is not None:
            return frozenset({Capability.ADD_CONTEXT})
        if not self._can_branch:
            return frozenset(Capability) - {Capability.BRANCH}
        return frozenset(Capability)

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last place before the verdict's onset to resume from."""
        return self._supervision.checkpoint_before(verdict)

    async def add_context(self, decision: Decision, text: str) -> None:
        """Queue `text` for the next tool boundary."""
        self._boundary.add_context(decision, text)

    async def prompt(self, decision: Decision, text: str) -> None:
        """End the turn, then send `text`."""
        # The CLI counts --max-turns anew for each prompt; a fork gets what is left.
        newest = self._supervision.last_checkpoint(self._sdk_id)
        if self.options.max_turns is not None and self._can_branch and newest is not None:
            await self._take_over(_Takeover("branch", text, newest))
        else:
            await self._take_over(_Takeover("prompt", text))

    async def branch(self, decision: Decision, checkpoint: Checkpoint, text: str) -> None:
        """End the turn, then go on from `checkpoint` with `text`."""
        await self._take_over(_Takeover("branch", text, checkpoint))

    async def lose(self, error: Exception) -> None:
        """Another worker has the session: end the agent at once, and tell the caller."""
        self.state, self.state_reason = SessionState.BROKEN, str(error)
        self._turn_open = False
        self._outbox.end(error)
        self._abandon(str(error))
        process = agent_process(self._inner)
        if process is not None:
            await kill_tree(process, grace=0.0)

    async def stop(self, decision: Decision, reason: str) -> None:
        """End the turn for good."""
        await self._take_over(_Takeover("stop", reason))

    def act(self, decision: Decision) -> None:
        """Start a decision's action."""
        task = asyncio.create_task(self._perform(decision))
        self._actions.add(task)
        task.add_done_callback(self._actions.discard)

    async def _perform(self, decision: Decision) -> None:
        kind = registry.actions()[decision.action or ""]
        try:
            params = kind.Params.model_validate(decision.params)
            result = await kind().run(decision, params, self)
        except _TurnOver as error:
            await self._supervision.action_superseded(decision, str(error))
        except Exception as error:  # noqa: BLE001 - a plugin may raise anything
            await self._supervision.action_failed(decision, error)
        else:
            self._supervision.acted(decision, result.detail)

    async def _take_over(self, takeover: _Takeover) -> None:
        if not self._turn_open:
            raise _TurnOver("the turn ended first")
        if self._takeover is not None:
            raise ActionError("another action is taking the turn over")
        self._takeover = takeover
        halting = asyncio.create_task(self._halt(takeover))
        try:
            await takeover.done
        finally:
            halting.cancel()
            self._takeover = None
            self._boundary.reopen()

    async def _halt(self, takeover: _Takeover) -> None:
        await self._boundary.close(TOOL_GRACE_SECONDS)
        takeover.interrupted = True
        try:
            await self._inner.interrupt()
        except Exception as error:  # noqa: BLE001 - the SDK raises bare Exception here
            if not takeover.done.done():
                takeover.done.set_exception(ActionError(f"cannot interrupt the agent: {error}"))

    # What the agent does.

    async def _drive(self) -> None:
        """Follow the agent from process to process until its last message."""
        try:
            while await self._follow(self._inner):
                continue
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the caller's
            if self._turn_open:
                self.state, self.state_reason = SessionState.BROKEN, str(error).split("\n")[0]
            self._abandon("the agent's process failed")
            self._outbox.end(error)
        else:
            self._abandon("the agent's process ended")
            self._outbox.end()

    async def _follow(self, inner: ClaudeSDKClient) -> bool:
        """Pass one process's messages on; returns whether another process follows."""
        async for message in inner.receive_messages():
            if isinstance(message, ResultMessage):
                await self._ended(message)
                if inner is not self._inner:
                    return True
                continue
            self._note_results(message)
            if not self._is_our_doing(message):
                await self._outbox.put(self._as_seen(message))
            if isinstance(message, MirrorErrorMessage):
                await self._supervision.note("store", "the SDK gave up mirroring some entries")
        return False

    def _note_results(self, message: Message) -> None:
        # A call that is denied, or fails before it runs, has no hook after it.
        if isinstance(message, UserMessage) and isinstance(message.content, list):
            for block in message.content:
                if isinstance(block, ToolResultBlock):
                    self._boundary.ended(block.tool_use_id)

    async def _ended(self, result: ResultMessage) -> None:
        await self._supervision.settled()
        takeover = self._takeover
        if takeover is None or not (takeover.interrupted and _was_aborted(result)):
            await self._end_turn(result)
            return
        if takeover.kind == "stop":
            self.state, self.state_reason = SessionState.ABORTED, takeover.text
            takeover.done.set_result(None)
            await self._end_turn(result)
            return
        self._ledger.absorb(result)
        async with self._switching:
            await self._carry_out(takeover)

    async def _carry_out(self, takeover: _Takeover) -> None:
        try:
            if takeover.checkpoint is not None:
                await self._branch(takeover.checkpoint, takeover.text)
            else:
                await self._say(takeover.text)
        except Exception as error:  # noqa: BLE001 - nothing may leave the agent halted
            takeover.done.set_exception(ActionError(str(error)))
            await self._say(addressed("You were interrupted by mistake. Go on with the task."))
        else:
            takeover.done.set_result(None)
        # Let the action finish before the agent's next message is read.
        await asyncio.gather(*self._actions, return_exceptions=True)

    async def _say(self, text: str) -> None:
        self._quiet = True
        if self._feed is not None:
            await self._feed.say(text)
        else:
            await self._inner.query(text)

    async def _branch(self, checkpoint: Checkpoint, text: str) -> None:
        fork = await self._fork(checkpoint)
        options = replace(
            self.options,
            resume=fork,
            session_id=None,
            fork_session=False,
            continue_conversation=False,
            resume_session_at=None,
            resume_drops_turn=None,
        )
        if options.max_turns is not None:
            options = replace(options, max_turns=max(1, options.max_turns - self._ledger.turns))
        inner = _client(options)
        await inner.connect(self._feed.messages() if self._feed is not None else None)
        former, self._inner, self._sdk_id = self._inner, inner, fork
        self._ledger.process_ended()
        await self._supervision.moved(fork)
        await former.disconnect()
        await self._say(text)

    async def _end_turn(self, result: ResultMessage) -> None:
        self._turn_open = False
        self._abandon("the turn ended first")
        await asyncio.gather(*self._actions, return_exceptions=True)
        for decision in self._boundary.withdraw_context():
            await self._supervision.action_superseded(
                decision, "the turn ended before the agent called a tool"
            )
        stopped = self.state is SessionState.ABORTED
        await self._supervision.turn_ended("the session was stopped" if stopped else None)
        if not self._supervision.seq:
            await self._supervision.note(
                "ingest", "no transcript entry arrived: this session is not supervised"
            )
        if not stopped:
            self.state, self.state_reason = _conclusion(result, self._supervision.unresolved)
        await self._supervision.conclude(self.state, self.state_reason)
        await self._outbox.put(self._as_seen(self._ledger.whole(result)))
        if self._feed is not None and (self._feed.exhausted.is_set() or stopped):
            await self._feed.end()

    def _begin_turn(self) -> None:
        self._turn_open = True
        self.state, self.state_reason = SessionState.RUNNING, ""

    def _abandon(self, reason: str) -> None:
        """Let go of a takeover that the agent forestalled."""
        if self._takeover is not None and not self._takeover.done.done():
            self._takeover.done.set_exception(_TurnOver(reason))

    async def _end_feed_when_exhausted(self, feed: Feed) -> None:
        await feed.exhausted.wait()
        if not self._turn_open:
            await feed.end()

    def _is_our_doing(self, message: Message) -> bool:
        """Messages that only show how Lucid took a turn over or began the next part."""
        if self._quiet and isinstance(message, SystemMessage):
            if message.subtype == "init":
                self._quiet = False
                return True
            return message.subtype == "session_title_changed"
        return (
            self._takeover is not None
            and isinstance(message, UserMessage)
            and isinstance(message.content, list)
            and any(
                isinstance(block, TextBlock)
                and block.text.startswith("[Request interrupted by user")
                for block in message.content
            )
        )

    def _as_seen(self, message: Message) -> Message:
        """The message under the one session id that the caller knows."""
        if self._sdk_id == self._seen_id:
            return message
        if isinstance(message, SystemMessage) and message.data.get("session_id") == self._sdk_id:
            message.data["session_id"] = self._seen_id
        if getattr(message, "session_id", None) == self._sdk_id:
            message.session_id = self._seen_id  # type: ignore[union-attr] # asked just above
        return message

    def _spawn(self, work: Any) -> None:
        self._tasks.add(asyncio.create_task(work))


def _client(options: ClaudeAgentOptions, transport: Transport | None = None) -> ClaudeSDKClient:
    """A client whose agent dies with this process, whatever ends it."""
    return ClaudeSDKClient(options if transport is not None else kept(options), transport)


async def _only(message: dict[str, Any]) -> Prompts:
    yield message


def _was_aborted(result: ResultMessage) -> bool:
    if result.terminal_reason is None:
        return result.is_error
    return result.terminal_reason.startswith("aborted")


def _conclusion(result: ResultMessage, unresolved: bool) -> tuple[SessionState, str]:
    """How the session stands after the agent's result, as far as Lucid knows."""
    if result.api_error_status is not None or result.terminal_reason == "api_error":
        return SessionState.BROKEN, f"the model's service failed ({result.api_error_status})"
    if result.is_error:
        return SessionState.GAVE_UP, result.terminal_reason or result.subtype
    if unresolved:
        return SessionState.GAVE_UP, "the agent finished with a failure unresolved"
    return SessionState.REACHED, ""
