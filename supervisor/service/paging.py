"""Lists in parts: `limit` and `cursor` of a request, and the cursor of the next part."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec
from starlette.requests import Request

from supervisor.service.problem import Refused

__all__ = ["DEFAULT_LIMIT", "MOST", "Place", "after_number", "limit_of", "part_of", "place_of"]

DEFAULT_LIMIT = 100
MOST = 1_000
"""Items of a page."""

_LARGEST = 2**53 - 1
Item = TypeVar("Item")


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where in the list of sessions, last changed first, a page ended."""

    updated_at: datetime
    session_id: str

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(msgspec.json.encode(self)).decode().rstrip("=")


def limit_of(request: Request) -> int:
    """How many items are asked for. Raises `Refused`."""
    text = request.query_params.get("limit")
    if text is None:
        return DEFAULT_LIMIT
    limit = _number(text)
    if limit is None or not 1 <= limit <= MOST:
        raise Refused(400, f"'limit' is a number from 1 to {MOST}")
    return limit


def after_number(request: Request) -> int:
    """The number that the last page ended with; 0 without a cursor. Raises `Refused`."""
    text = request.query_params.get("cursor")
    if text is None:
        return 0
    number = _number(text)
    if number is None:
        raise _no_cursor()
    return number


def place_of(request: Request) -> Place | None:
    """Where the last page of sessions ended. Raises `Refused`."""
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        padded = text + "=" * (-len(text) % 4)
        place = msgspec.json.decode(
            base64.b64decode(padded, altchars=b"-_", validate=True), type=Place
        )
    except (binascii.Error, ValueError, RecursionError) as error:
        raise _no_cursor() from error
    if place.updated_at.tzinfo is None:
        raise _no_cursor()
    return place


def part_of(items: Sequence[Item], request: Request) -> tuple[Sequence[Item], str | None]:
    """The items that are asked for, and the next cursor. A cursor counts items: one that
    was put in before it makes the next page begin with an item again, and none is missed."""
    start, limit = after_number(request), limit_of(request)
    end = start + limit
    return items[start:end], str(end) if end < len(items) else None


def _number(text: str) -> int | None:
    # isdecimal alone takes other scripts' digits too.
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        return None
    return min(int(text), _LARGEST)


def _no_cursor() -> Refused:
    return Refused(400, "'cursor' is not one that this list gave as 'next'")
