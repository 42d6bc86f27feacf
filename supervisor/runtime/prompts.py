"""`Prompts`: what is put to the agent, written down before it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import uuid4

import msgspec

from supervisor.core.interruption import Sent
from supervisor.core.sent import SentPrompt
from supervisor.store.codec import encode

__all__ = ["Prompts"]

Message = dict[str, Any]  # the SDK's own type for a streamed prompt


class Prompts:
    """Of one session; the newest is remembered."""

    def __init__(self, session_id: str) -> None:
        self._session_id = session_id
        self._newest: SentPrompt | None = None

    @property
    def newest(self) -> Message | None:
        """What was put to the agent last, as it was sent."""
        return msgspec.json.decode(self._newest.message) if self._newest is not None else None

    @property
    def sent(self) -> Sent | None:
        """The newest, as `diagnose` takes it."""
        return self._newest.sent if self._newest is not None else None

    def remember(self, prompt: SentPrompt) -> None:
        """A former worker put this to the agent."""
        self._newest = prompt

    def draw_up(self, message: Message, at: datetime) -> tuple[Message, SentPrompt | None]:
        """The prompt under a uuid, by which the transcript tells whether it got there, and
        what is to be written down of it: None where that was done before."""
        if self._newest is not None and message.get("uuid") == self._newest.uuid:
            return message, None
        uuid = message.get("uuid")
        message = message if isinstance(uuid, str) and uuid else {**message, "uuid": str(uuid4())}
        self._newest = SentPrompt(
            session_id=self._session_id,
            uuid=message["uuid"],
            at=at,
            message=msgspec.Raw(encode(message)),
        )
        return message, self._newest
