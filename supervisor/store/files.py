"""`FilesRecord`: a checkpoint of an agent's files, and the place in its session it belongs to."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.errors import StoreError

__all__ = ["FilesRecord", "piece_of"]


class FilesRecord(msgspec.Struct, frozen=True, kw_only=True):
    """Recorded once for equal `snapshot_id` and `at`.

    The same snapshot may be recorded many times, of different places; its content is kept
    once, with the first of them.
    """

    session_id: str
    snapshot_id: str
    snapshot: msgspec.Raw
    """As `supervisor.files` describes it, JSON."""
    at: datetime
    seq: int
    """The newest entry of the session that had been read; 0 before the first."""
    after_call: str | None = None
    """The last tool call before it that may have written; None before the first."""
    host: str
    """Where the folder is, for a person and to tell hosts apart."""
    chunks: int = 0
    """In how many pieces the content is kept here; 0 where it is not."""
    bytes: int = 0
    """Of the content, as it is kept."""
    since: str | None = None
    """The snapshot that the content builds on, which is to be brought here first."""


def piece_of(kept: FilesRecord, number: int, found: bytes | None) -> bytes:
    """A piece of a checkpoint's content, as it was `found`. Raises `StoreError` where it
    was not."""
    if found is None:
        raise StoreError(
            f"piece {number} of {kept.chunks} of the checkpoint of files "
            f"{kept.snapshot_id} of session {kept.session_id!r} is missing"
        )
    return found
