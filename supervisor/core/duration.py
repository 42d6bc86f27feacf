"""Durations as people write them: `500ms`, `45s`, `30m`, `2h`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from supervisor.core.text import shown

__all__ = ["Duration", "duration_text", "parse_duration"]

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h|d)")


def parse_duration(value: object) -> timedelta:
    """A whole number and a unit: `500ms`, `45s`, `30m`, `2h`, `30d`. Raises `ValueError`.

    >>> parse_duration("30m")
    datetime.timedelta(seconds=1800)
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            "must be a whole number and a unit (ms, s, m, h or d), such as '30m', "
            f"not {shown(value)}"
        )
    try:
        duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    except OverflowError:
        raise ValueError(f"is too long: {match[0]}") from None
    if not duration:
        raise ValueError(f"must be longer than no time at all, not {shown(value)}")
    return duration


def duration_text(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as `duration`, cut to milliseconds.

    >>> duration_text(timedelta(minutes=90))
    '90m'
    """
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(duration, timedelta(**{_UNITS[unit]: 1}))
        if not rest:
            return f"{count}{unit}"
    return f"{duration // timedelta(milliseconds=1)}ms"


Duration = Annotated[
    timedelta, BeforeValidator(parse_duration), PlainSerializer(duration_text, when_used="json")
]
"""A pydantic field that is written and read as such a text."""
