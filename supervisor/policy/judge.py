"""Who is asked for second opinions, about what, and for how much."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from supervisor.core.duration import Duration
from supervisor.core.text import shown
from supervisor.core.verdict import RUNTIME_MODES, FailureMode
from supervisor.policy.faults import fault, refused
from supervisor.policy.parts import Part

__all__ = ["JUDGE", "OpinionPrice", "Opinions", "Spending"]

JUDGE = "judge"
"""The detector that a second opinion's verdict names."""


class Spending(Part):
    """What second opinions may take; beyond it none is asked for."""

    calls: int = Field(strict=True, ge=1, le=100_000)
    cost_usd: float | None = Field(default=None, strict=True, gt=0)


class OpinionPrice(Part):
    """US dollars for a million of the judge's tokens."""

    input: float = Field(strict=True, ge=0)
    output: float = Field(strict=True, ge=0)


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class Opinions(Part):
    """A model that gives second opinions on verdicts which no rule acts on. Nothing waits
    for it; off unless a policy has it."""

    model: str = Field(strict=True, min_length=1, max_length=200)
    confirms: Annotated[tuple[FailureMode, ...], Field(min_length=1), BeforeValidator(_as_list)] = (
        FailureMode.DRIFT,
        FailureMode.FALSE_COMPLETION,
    )
    """What it is asked about: failures that take understanding to tell."""
    per_session: Spending = Spending(calls=20)
    per_hour: Spending = Spending(calls=200)
    """Of all sessions of one process together."""
    timeout: Duration = timedelta(seconds=30)
    """For one opinion, retries included. An opinion that comes later is of little use: the
    agent has gone on."""
    price: OpinionPrice | None = None
    """Needed for a limit on cost. Prices change, so none are built in."""

    @field_validator("confirms")
    @classmethod
    def _only_what_detectors_find(cls, value: tuple[FailureMode, ...]) -> tuple[FailureMode, ...]:
        if seen := RUNTIME_MODES & set(value):
            raise ValueError(f"{shown(str(min(seen)))} is for the runtime to see, not for a judge")
        return value

    @model_validator(mode="after")
    def _can_tell_the_cost(self) -> Self:
        limited = self.per_session.cost_usd or self.per_hour.cost_usd
        if limited is not None and self.price is None:
            raise refused(fault("a limit on cost_usd needs a price"))
        return self
