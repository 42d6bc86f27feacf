"""Lists of what was recorded of a session, a part at a time."""

from __future__ import annotations

from typing import Generic, NamedTuple, TypeVar

import msgspec

__all__ = ["START", "Part", "Position"]

_T = TypeVar("_T")


class Position(NamedTuple):
    """Where something stands in a list; what is recorded later moves nothing."""

    seq: int
    """Its entry's; 0 in a list that goes by `number` alone."""
    number: int
    """The store's own, ascending as things are recorded."""


START = Position(-1, -1)
"""Before all that a list holds."""


class Part(msgspec.Struct, Generic[_T], frozen=True):
    """Some of a list, in its order."""

    items: list[_T]
    end: Position | None = None
    """Where its last item stands, behind which the list goes on; None where it does not."""
