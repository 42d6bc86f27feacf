"""`Intent`: a tool call about to run, written down before it runs."""

from __future__ import annotations

from datetime import datetime

import msgspec

__all__ = ["Intent"]


class Intent(msgspec.Struct, frozen=True, kw_only=True):
    """A call that may have run. One without a result in the transcript is in doubt."""

    session_id: str
    call_id: str
    tool: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    agent_id: str | None = None
    at: datetime
