"""The conditions of a rule that look beyond the verdict: whose it is, when, at what cost."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, tzinfo
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Annotated, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BeforeValidator, Field, PlainSerializer

from supervisor.core.text import shown
from supervisor.policy.faults import fault, refused
from supervisor.policy.parts import Part

__all__ = ["Between", "BetweenSource", "Over", "matches_agent"]

_BETWEEN = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)(?: (\S{1,64}))?")


class Over(Part):
    """More than so much."""

    over: float = Field(strict=True, ge=0)


class Between(NamedTuple):
    """A span of each day, from its first minute to before its last; over midnight where
    the first comes after the last."""

    start: time
    end: time
    zone: str = "UTC"

    def holds(self, now: datetime) -> bool:
        """Whether it is so late there."""
        clock = now.astimezone(_zone(self.zone)).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M} {self.zone}"


@lru_cache(maxsize=64)
def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _read_between(value: object) -> object:
    if value is None or isinstance(value, Between):
        return value
    match = _BETWEEN.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        example = "'22:00-06:00' (UTC) or '22:00-06:00 Europe/Berlin'"
        raise refused(fault(f"must be such as {example}, not {shown(value)}"))
    try:
        start, end = time.fromisoformat(match[1]), time.fromisoformat(match[2])
    except ValueError:
        raise refused(fault(f"has no such time of day: {shown(value)}")) from None
    if start == end:
        raise refused(fault(f"is no time at all: {shown(value)}")) from None
    zone = match[3] or "UTC"
    try:
        _zone(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise refused(
            fault(f"unknown time zone {shown(zone)}; write it as in Europe/Berlin")
        ) from None
    return Between(start, end, zone)


BetweenSource = Annotated[
    Between | None,
    BeforeValidator(_read_between),
    PlainSerializer(lambda span: None if span is None else str(span), when_used="json"),
]


def matches_agent(pattern: str, agent_id: str | None, kind: str | None) -> bool:
    """Whether `pattern` (`main`, `subagents`, or one with `*` for a subagent's type or id)
    is for this agent.

    >>> matches_agent("main", None, None), matches_agent("code-*", "a1", "code-reviewer")
    (True, True)
    """
    if agent_id is None or pattern in ("main", "subagents"):
        return pattern == ("main" if agent_id is None else "subagents")
    return any(fnmatchcase(name, pattern) for name in (kind, agent_id) if name)
