"""`Passage`: the agent's messages on their way to the caller.

The caller sees one stream under one session id, from whichever process a message comes.
What only shows how Lucid ended a part of the turn, or began the next, is kept back.
"""

from __future__ import annotations

from claude_agent_sdk import Message, ResultMessage, SystemMessage, TextBlock, UserMessage

from supervisor.runtime.outbox import Outbox
from supervisor.runtime.process import AgentProcess

__all__ = ["Passage"]


class Passage:
    """Passes one session's messages on, in order."""

    def __init__(self, outbox: Outbox, process: AgentProcess, session_id: str) -> None:
        """`session_id` is the one that the caller sees."""
        self._outbox = outbox
        self._process = process
        self._session_id = session_id
        self._hushed = False

    def hush(self) -> None:
        """A prompt of Lucid's follows: that the agent begins anew is not for the caller."""
        self._hushed = True

    async def pass_on(self, message: Message, *, taken_over: bool) -> None:
        """Pass a message on, once there is room; `taken_over` if an action ends the turn."""
        if self._tells_the_beginning(message) or (taken_over and _tells_the_interrupt(message)):
            return
        await self._outbox.put(self._as_seen(message))

    async def hand_over(self, result: ResultMessage) -> None:
        """Pass the turn's result on."""
        await self._outbox.put(self._as_seen(result))

    def end(self, error: Exception | None = None) -> None:
        """Nothing follows; the caller is raised `error`, if there is one."""
        self._outbox.end(error)

    def _tells_the_beginning(self, message: Message) -> bool:
        if not self._hushed or not isinstance(message, SystemMessage):
            return False
        if message.subtype == "init":
            self._hushed = False
            return True
        return message.subtype == "session_title_changed"

    def _as_seen(self, message: Message) -> Message:
        own = self._process.sdk_id
        if own == self._session_id:
            return message
        if isinstance(message, SystemMessage) and message.data.get("session_id") == own:
            message.data["session_id"] = self._session_id
        if getattr(message, "session_id", None) == own:
            message.session_id = self._session_id  # type: ignore[union-attr] # asked just above
        return message


def _tells_the_interrupt(message: Message) -> bool:
    return (
        isinstance(message, UserMessage)
        and isinstance(message.content, list)
        and any(
            isinstance(block, TextBlock) and block.text.startswith("[Request interrupted by user")
            for block in message.content
        )
    )
