"""`SentPrompt`: a prompt about to be sent to the agent, written down before it is."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from supervisor.core.interruption import Sent

__all__ = ["SentPrompt"]


class SentPrompt(msgspec.Struct, frozen=True, kw_only=True):
    """A prompt in the form in which it goes to the agent, kept so that one which never
    got there can be sent again as it was."""

    session_id: str
    uuid: str
    """Its own on the wire; the transcript's entry of it has the same."""
    at: datetime
    message: msgspec.Raw
    """The SDK's streamed form, a JSON object; untrusted like all that a caller passes on."""

    @property
    def text(self) -> str:
        """What it says; images and other blocks are left out."""
        content: Any = msgspec.json.decode(self.message).get("message", {}).get("content", "")
        if isinstance(content, str):
            return content
        texts = [block.get("text", "") for block in content if isinstance(block, dict)]
        return "\n".join(text for text in texts if isinstance(text, str))

    @property
    def sent(self) -> Sent:
        """As `diagnose` takes it."""
        return Sent(text=self.text, uuid=self.uuid)
