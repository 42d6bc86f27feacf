"""`Steering`: where the agent goes on: in its process, in another one, in a fork."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Protocol
from uuid import uuid4

from supervisor.core.checkpoint import Checkpoint
from supervisor.runtime.aftermath import with_postscript
from supervisor.runtime.feed import user_message
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.runtime.ledger import Ledger
from supervisor.runtime.passage import Passage
from supervisor.runtime.process import AgentProcess
from supervisor.runtime.supervision import Supervision

__all__ = ["Fork", "Steering"]


class Fork(Protocol):
    """Makes forks."""

    async def __call__(self, checkpoint: Checkpoint, masking: Collection[int] = ()) -> str:
        """Fork at a checkpoint, without the results in the entries `masking`; returns the
        fork's SDK session id."""


class Steering:
    """Puts one session's agent on its way. Raises what the SDK raises where the agent's
    process cannot be reached or started, and `ActionError` where a fork cannot be made."""

    def __init__(
        self,
        process: AgentProcess,
        supervision: Supervision,
        files: FileKeeping,
        ledger: Ledger,
        passage: Passage,
        fork: Fork,
    ) -> None:
        self._process = process
        self._supervision = supervision
        self._files = files
        self._ledger = ledger
        self._passage = passage
        self._fork = fork

    async def say(self, text: str) -> None:
        """Put a text of Lucid's to the agent."""
        await self.ask(user_message(text))

    async def ask(self, message: dict[str, Any]) -> None:
        """Put a prompt to the agent on Lucid's account; it is written down first."""
        await self.command(await self._supervision.asks(message))

    async def command(self, message: dict[str, Any]) -> None:
        """Put a prompt to the agent that nobody would have to send again."""
        self._passage.hush()
        await self._process.say(message)

    async def branch(
        self,
        checkpoint: Checkpoint,
        text: str,
        *,
        restore_files: bool,
        masking: Collection[int] = (),
    ) -> None:
        """Go on from a checkpoint, with a text of Lucid's; without the results `masking`."""
        await self._move(await self._fork(checkpoint, masking), resume=True)
        # The former process is gone, with all that it started: nobody writes meanwhile.
        left = await self._files.roll_back(checkpoint, restore=restore_files)
        await self.say(with_postscript(text, left))

    async def begin_anew(self, prompt: str, text: str) -> None:
        """Go on in a new transcript, with a prompt of the user's and Lucid's text behind it."""
        await self.stand_at(None)
        message = user_message(prompt)
        # A block each: the text would else be taken for the user's.
        message["message"]["content"] = [{"type": "text", "text": said} for said in (prompt, text)]
        await self.ask(message)

    async def stand_at(self, checkpoint: Checkpoint | None) -> None:
        """Have a process stand in a fork at a checkpoint; in an empty transcript at None."""
        if checkpoint is None:
            await self._move(str(uuid4()), resume=False)
        else:
            await self._move(await self._fork(checkpoint), resume=True)

    async def stand_at_the_end(self) -> None:
        """Have a process stand at the end of the agent's transcript."""
        if self._process.is_alive:
            return
        if self._supervision.last_checkpoint(self._process.sdk_id) is None:
            # Nothing of it can be resumed: not even the prompt is there.
            await self.stand_at(None)
        else:
            await self._move(self._process.sdk_id, resume=True)

    async def _move(self, sdk_session_id: str, *, resume: bool) -> None:
        limit = self._process.options.max_turns
        left = None if limit is None else max(1, limit - self._ledger.turns)
        await self._process.move(sdk_session_id, resume=resume, max_turns=left)
        self._ledger.process_ended()
        await self._supervision.moved(sdk_session_id)
