"""`Lease`: the right to run a session and to write to it, for a while."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

__all__ = ["Lease", "nobodys"]


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    """Held by one worker at a time. A newer holder has a higher epoch, and writes under
    an older one are refused."""

    session_id: str
    owner: str
    """Who holds it, for a person: host, process and a random part."""
    epoch: int
    """From 1, and one more each time the lease changes hands; 0 is `nobodys`."""
    expires_at: datetime
    """By the store's clock, never a worker's own."""


def nobodys(session_id: str) -> Lease:
    """Stands for the lease on a session that never had one: what is written under it is
    refused once somebody has taken the session."""
    never = datetime.min.replace(tzinfo=UTC)
    return Lease(session_id=session_id, owner="", epoch=0, expires_at=never)
