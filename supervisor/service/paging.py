"""Lists in parts: `limit` and `cursor` of a request, and the cursor of the next part."""

from __future__ import annotations

import base64
import binascii
from datetime import datetime

import msgspec
from starlette.requests import Request

from supervisor.service.problem import Refused
from supervisor.store.parts import START, Position

__all__ = [
    "DEFAULT_LIMIT",
    "MOST",
    "Place",
    "after_number",
    "cursor_of",
    "limit_of",
    "place_of",
    "position_of",
]

DEFAULT_LIMIT = 100
MOST = 1_000
"""Items of a page."""

_LARGEST = 2**53 - 1


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


def cursor_of(end: Position | None) -> str | None:
    """The cursor with which a list goes on behind a part's end."""
    return None if end is None else f"{end.seq}-{end.number}"


def position_of(request: Request) -> Position:
    """Where the last part of a list ended. Raises `Refused`."""
    text = request.query_params.get("cursor")
    if text is None:
        return START
    seq, number = map(_number, (text.partition("-")[0], text.partition("-")[2]))
    if seq is None or number is None:
        raise _no_cursor()
    return Position(seq, number)


def _number(text: str) -> int | None:
    # isdecimal alone takes other scripts' digits too.
    if not (text.isascii() and text.isdecimal() and len(text) <= 16):
        return None
    return min(int(text), _LARGEST)


def _no_cursor() -> Refused:
    return Refused(400, "'cursor' is not one that this list gave as 'next'")
