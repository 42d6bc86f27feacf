"""What a store says where it has no such session, or the session is somebody else's."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from supervisor.core.lease import Lease, nobodys
from supervisor.errors import LeaseHeld, LeaseLost, StoreError, TranscriptError

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = [
    "BEING_REMOVED",
    "NEAREST_AMONG",
    "SHOWN_IDS",
    "ambiguous",
    "astray",
    "check_fence",
    "folder_held",
    "folder_lost",
    "held",
    "lost",
    "newer",
    "taken",
    "there_already",
    "unknown",
]

BEING_REMOVED = "a prune that was deleting this session has not finished: its end is missing"
"""Why a session is closed of which a part was deleted."""
NEAREST_AMONG = 1_000
"""The sessions, the last changed first, among which a mistyped id is looked for."""
SHOWN_IDS = 5


def unknown(session_id: str, known: Sequence[str]) -> TranscriptError:
    """There is no such session."""
    nearest = difflib.get_close_matches(session_id, known, n=SHOWN_IDS, cutoff=0)
    there = f"the nearest are {', '.join(nearest)}" if nearest else "the store holds none yet"
    return TranscriptError(f"there is no session {session_id!r}; {there}")


def ambiguous(prefix: str, ids: Sequence[str]) -> TranscriptError:
    """Several sessions are meant."""
    return TranscriptError(
        f"several sessions begin with {prefix!r}: {', '.join(ids)}; give more of the id"
    )


def newer(where: str, version: int, latest: int) -> StoreError:
    """The store is of a schema version that is still to come."""
    return StoreError(
        f"the store {where} has schema version {version} and this Lucid knows versions up to "
        f"{latest}: a newer Lucid made it; upgrade lucid-supervisor, or use another --store"
    )


def held(lease: Lease) -> LeaseHeld:
    """The session runs elsewhere."""
    return LeaseHeld(
        f"session {lease.session_id!r} is run by {lease.owner} until {_said(lease.expires_at)}; "
        "wait until then, or stop it there",
        holder=lease.owner,
        expires_at=lease.expires_at,
    )


def lost(lease: Lease, now: Lease | None) -> LeaseLost:
    """The session is not this worker's any more; `now` is the lease on it."""
    if now is not None and not lease.epoch:
        return LeaseLost(f"session {lease.session_id!r} was taken by {now.owner}")
    by = (
        f"{now.owner} took the session over (epoch {now.epoch}, until {_said(now.expires_at)})"
        if now is not None
        else "the session is gone"
    )
    return LeaseLost(
        f"the lease of {lease.owner} on session {lease.session_id!r} (epoch {lease.epoch}) is "
        f"lost: {by}; stop this agent, nothing more of it is kept"
    )


def folder_held(lease: Lease) -> LeaseHeld:
    """The folder is followed elsewhere."""
    return LeaseHeld(
        f"{lease.session_id} is followed by {lease.owner} until {_said(lease.expires_at)}",
        holder=lease.owner,
        expires_at=lease.expires_at,
    )


def folder_lost(lease: Lease) -> LeaseLost:
    """The folder is not this sidecar's any more."""
    return LeaseLost(
        f"{lease.session_id} is not followed by {lease.owner} any more (epoch {lease.epoch}): "
        "another sidecar has taken it over"
    )


def check_fence(lease: Lease, session_id: str, now: Lease | None) -> None:
    """Raise unless `lease` is the one `now` on the session that is about to be changed."""
    if session_id != lease.session_id:
        raise StoreError(
            f"a lease on session {lease.session_id!r} gives no right to change session "
            f"{session_id!r}; please report this as a bug of Lucid's"
        )
    there = nobodys(session_id) if now is None else now
    if (there.owner, there.epoch) != (lease.owner, lease.epoch):
        raise lost(lease, now)


def taken(key: SessionKey, session_id: str, owner: str) -> TranscriptError:
    """A transcript that is to be put back belongs to another session here."""
    return TranscriptError(
        f"transcript {_named(key)!r} of session {session_id!r} is here already, as one of session "
        f"{owner!r}; use another --store, or delete that session first"
    )


def astray(key: SessionKey, seq: int) -> TranscriptError:
    """An entry is to be put back into a transcript that its session does not have."""
    return TranscriptError(f"entry {seq} belongs to {_named(key)!r}, no transcript of its session")


def there_already(seq: int) -> TranscriptError:
    """An entry's number or uuid is taken."""
    return TranscriptError(
        f"entry {seq}, or one put back with it, has the number or the uuid of another"
    )


def _named(key: SessionKey) -> str:
    return "/".join(filter(None, (key["session_id"], key.get("subpath"))))


def _said(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
