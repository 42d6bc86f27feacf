"""`Folder`, `FileMark`: which folders of transcripts are followed, and how far their files
were read."""

from __future__ import annotations

from datetime import datetime

import msgspec

from supervisor.core.lease import Lease

__all__ = ["FileMark", "Folder"]


class FileMark(msgspec.Struct, frozen=True, kw_only=True):
    """How far one file of a folder was read, and by what it is known again."""

    path: str
    """Below the folder, with `/` between."""
    offset: int
    """Bytes from the start to the first line that was not read."""
    number: int
    """That line's, from 1."""
    fingerprint: str
    """Hex digest of the first bytes."""
    fingerprinted: int
    """How many bytes those are."""
    session_id: str = ""
    """Lucid's session that its entries went to."""
    judged: int = 0
    """The newest entry of that session that was judged, and decided on, by then."""


class Folder(msgspec.Struct, frozen=True, kw_only=True):
    """A folder that somebody follows, or did."""

    name: str
    """Unique in the store: the host, and where the folder is there."""
    followed_at: datetime
    """When it was first followed."""
    lease: Lease | None = None
    """The newest one; whether it is alive is for the store's clock to say."""
