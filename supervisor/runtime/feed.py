"""`Feed`: the agent's input while it is open, across the processes that read it.

The caller's prompts and Lucid's go through one queue, so that a prompt which the caller
has yet to produce is not lost when a rollback moves the work to another process.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable
from typing import Any

__all__ = ["Feed", "and_then", "user_message"]

Message = dict[str, Any]  # the SDK's own type for a streamed prompt


def user_message(text: str) -> Message:
    """A prompt in the form that the SDK streams."""
    return {
        "type": "user",
        "session_id": "",
        "message": {"role": "user", "content": text},
        "parent_tool_use_id": None,
    }


def and_then(message: Message, text: str | None) -> Message:
    """The prompt again, not under its old uuid, with `text` after its own."""
    again = {key: value for key, value in message.items() if key != "uuid"}
    if text is None:
        return again
    content = message["message"]["content"]
    longer: object = (
        f"{content}\n\n{text}"
        if isinstance(content, str)
        else [*content, {"type": "text", "text": text}]
    )
    return {**again, "message": {**message["message"], "content": longer}}


class Feed:
    """Prompts in, one stream out for each process; ends when told to."""

    def __init__(
        self,
        prompts: AsyncIterable[Message],
        on_prompt: Callable[[], None],
        on_delivery: Callable[[Message], Awaitable[Message]],
    ) -> None:
        """`on_prompt` is called for each of the caller's prompts as it comes; `on_delivery`
        with each prompt before it goes to the agent, and returns what goes."""
        self.exhausted = asyncio.Event()
        """Set once the caller has no further prompt."""
        self._queue: deque[Message] = deque()
        self._ended = False
        self._reader = 0
        self._changed = asyncio.Condition()
        self._on_prompt = on_prompt
        self._on_delivery = on_delivery
        self._pump = asyncio.create_task(self._fill(prompts))

    async def _fill(self, prompts: AsyncIterable[Message]) -> None:
        try:
            async for message in prompts:
                self._on_prompt()
                await self._add(message)
        finally:
            self.exhausted.set()

    async def _add(self, message: Message) -> None:
        async with self._changed:
            self._queue.append(message)
            self._changed.notify_all()

    async def say(self, message: Message) -> None:
        """Add a prompt of Lucid's."""
        await self._add(message)

    async def end(self) -> None:
        """Let the stream end after what is queued; the SDK then closes the input."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    def messages(self) -> AsyncIterator[Message]:
        """The prompts still to be read, for a new reader; the former one's stream ends."""
        self._reader += 1
        return self._read(self._reader)

    async def _read(self, reader: int) -> AsyncIterator[Message]:
        while True:
            async with self._changed:
                await self._changed.wait_for(
                    lambda: self._queue or self._ended or reader != self._reader
                )
                if reader != self._reader or not self._queue:
                    return
                message = self._queue.popleft()
            yield await self._on_delivery(message)

    async def close(self) -> None:
        """Stop reading the caller's prompts."""
        self._pump.cancel()
        await asyncio.gather(self._pump, return_exceptions=True)
