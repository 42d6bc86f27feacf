"""What a session may be put through, and what its agent does while the store is away."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, field_validator

from supervisor.core.duration import Duration, duration_text
from supervisor.core.text import shown
from supervisor.policy.faults import fault, refused
from supervisor.policy.parts import Part
from supervisor.policy.rung import RungSource

__all__ = [
    "MAX_INTERVENTIONS",
    "Budget",
    "FilesMode",
    "Limit",
    "Limits",
    "Silence",
    "StoreAbsence",
    "WhenAway",
]

MAX_INTERVENTIONS = 1000
"""The highest `max` of a limit: so many acted decisions are remembered."""


class Limit(Part):
    """At most `max` acted decisions in any `per`; beyond, `then` or nothing."""

    max: int = Field(strict=True, ge=1, le=MAX_INTERVENTIONS)
    per: Duration | None = None
    """None: in the whole session."""
    then: RungSource | None = None


class Budget(Part):
    """What a session may spend in all; once it is spent, `then` or nothing."""

    max: float = Field(strict=True, gt=0)
    then: RungSource | None = None


def _read_budget(value: object) -> object:
    if value is None or isinstance(value, (dict, Budget)):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return {"max": value}
    raise refused(fault(f"must be a number, or a mapping with 'max', not {shown(value)}"))


BudgetSource = Annotated[Budget, BeforeValidator(_read_budget)]


class Silence(Part):
    """How long an agent may give no sign of life before its process is ended, where a rule
    answers interruptions."""

    model: Duration = timedelta(minutes=20)
    """While the model is asked. Without partial messages a long answer shows only at its
    end: 64,000 tokens at 60 a second take 18 minutes. The CLI's own limit on a stream
    that fell silent is 10 minutes."""
    tool: Duration = timedelta(hours=2)
    """While a tool call runs. The longest the CLI lets a command run is 10 minutes; a
    foreground subagent or an MCP tool may take longer, and be silent."""


class Limits(Part):
    """What a session may be put through as a whole, all rules and agents together."""

    interventions: Limit | None = None
    """Actions on what the agent does."""
    resumptions: Limit | None = None
    """Actions on interruptions, which are not the agent's doing: counted apart."""
    tokens: BudgetSource | None = None
    """Read and written by all agents, what comes from the cache included."""
    cost_usd: BudgetSource | None = None
    """As the agent's runtime counts it, at the end of each turn."""
    silence: Silence = Silence()


class FilesMode(StrEnum):
    """Whether checkpoints of the agent's files are taken."""

    OFF = "off"
    CHECKPOINTS = "checkpoints"


class WhenAway(StrEnum):
    """What an agent does while its tool calls cannot be written down before they run."""

    PAUSE = "pause"
    GO_ON = "go_on"


class StoreAbsence(Part):
    """What happens to an agent while the store cannot be written. What it produced waits on
    local disk in either case."""

    when_away: WhenAway = WhenAway.PAUSE
    pause_at_most: Duration = timedelta(minutes=30)
    """How long a tool call waits for the store, a day at most; then it is denied. Half an
    hour covers a failover and most repairs."""

    @field_validator("pause_at_most")
    @classmethod
    def _a_timer_can_hold_it(cls, value: timedelta) -> timedelta:
        # The CLI, whose hook waits as long, counts milliseconds in 31 bits: 24 days.
        if value > timedelta(days=1):
            raise ValueError(f"must be a day at most, not {shown(duration_text(value))}")
        return value
