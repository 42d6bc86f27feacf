"""`Rule`: which verdicts it answers, and its ladder."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import InitErrorDetails

from supervisor.core.text import shown
from supervisor.core.verdict import FailureMode, Severity
from supervisor.policy.faults import fault, refused, unknown
from supervisor.policy.judge import JUDGE
from supervisor.policy.parts import Part, plugins_of
from supervisor.policy.rung import Distance, RungSource
from supervisor.policy.stop import faults_on_stops
from supervisor.policy.when import BetweenSource, Over

__all__ = ["Mode", "Rule", "repeated_names", "unreachable"]


class Mode(StrEnum):
    """Whether decisions are carried out."""

    ACT = "act"
    OBSERVE = "observe"


def _read_mode(value: object, info: ValidationInfo) -> object:
    plugins = plugins_of(info)
    if plugins is None:
        return value
    if value not in list(FailureMode):
        raise refused(fault(unknown("failure mode", value, FailureMode)))
    if value not in plugins.detectable():
        found = ", ".join(sorted(plugins.detectable())) or "nothing"
        raise refused(fault(f"no detector finds {shown(value)}; the known ones find {found}"))
    return value


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


Modes = Annotated[
    tuple[Annotated[FailureMode, BeforeValidator(_read_mode)], ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
]
Pattern = Annotated[str, Field(strict=True, min_length=1, max_length=100)]


class Rule(Part):
    """Which verdicts it answers, and the ladder of actions it answers them with."""

    name: str = Field(strict=True, min_length=1, max_length=100)
    enabled: bool = Field(default=True, strict=True)
    """Whether it is there at all: how an included rule is switched off."""
    mode: Mode | None = None
    """Whether it acts; None as the policy does."""
    on: Modes
    detector: str | None = None
    """Answers only this detector's verdicts; None for every detector's."""
    min_confidence: float = Field(default=0.0, strict=True, ge=0, le=1)
    min_severity: Severity = Severity.INFO
    agent: Pattern | None = None
    """`main`, `subagents`, or a pattern with `*` for subagents of such a type or id; None
    for every agent."""
    labels: Mapping[Pattern, Pattern] = Field(default_factory=dict)
    """Labels the session must have, each with a value that its pattern fits."""
    between: BetweenSource = None
    """A time of day, and its zone."""
    cost_usd: Over | None = None
    """What the session has cost so far."""
    cooldown: Distance = None
    ladder: tuple[RungSource, ...] = Field(min_length=1)

    @field_validator("detector")
    @classmethod
    def _detector_exists(cls, value: str | None, info: ValidationInfo) -> str | None:
        plugins = plugins_of(info)
        if plugins is None or value in {None, JUDGE} or value in plugins.detectors:
            return value
        raise refused(fault(unknown("detector", value, plugins.detectors)))

    @model_validator(mode="after")
    def _detector_finds_the_modes(self, info: ValidationInfo) -> Self:
        plugins = plugins_of(info)
        if plugins is None or self.detector is None or self.detector == JUDGE:
            return self
        modes = plugins.detectors[self.detector].failure_modes()
        if strays := [shown(str(other)) for other in self.on if other not in modes]:
            finds = " or ".join(sorted(shown(str(mode)) for mode in modes))
            reason = f"{self.detector!r} finds only {finds}, never {' or '.join(strays)}"
            raise refused(fault(reason, ("detector",)))
        return self

    @model_validator(mode="after")
    def _stops_are_a_ladder_of_their_own(self, info: ValidationInfo) -> Self:
        plugins = plugins_of(info)
        if plugins is not None and (faults := faults_on_stops(self.on, self.ladder, plugins)):
            raise refused(*faults)
        return self

    def __str__(self) -> str:
        """In one line: what it is for, what it asks for, and its ladder."""
        asks = f" ({', '.join(self.conditions)})" if self.conditions else ""
        mode = f" [{self.mode}]" if self.mode is not None else ""
        off = "" if self.enabled else " [off]"
        ladder = " -> ".join(map(str, self.ladder))
        return f"{self.name}{mode}{off}: on {', '.join(self.on)}{asks}: {ladder}"

    def answers(self, mode: FailureMode) -> bool:
        """Whether it is for failures of this mode that befall the main agent, whoever finds
        them and whenever."""
        return (
            mode in self.on
            and self.enabled
            and self.detector is None
            and self.agent in (None, "main")
            and not (self.labels or self.between or self.cost_usd)
        )

    def covers(self, other: Rule) -> bool:
        """Whether it matches every verdict that `other` matches."""
        ranks = list(Severity)
        return (
            set(self.on) >= set(other.on)
            and self.detector in (None, other.detector)
            and self.min_confidence <= other.min_confidence
            and ranks.index(self.min_severity) <= ranks.index(other.min_severity)
            and self._covers_agent(other)
            and self.labels.items() <= other.labels.items()
            and self.between in (None, other.between)
            and _at_most(self.cost_usd, other.cost_usd)
        )

    def _covers_agent(self, other: Rule) -> bool:
        if self.agent == "subagents":
            return other.agent not in (None, "main")
        return self.agent in (None, other.agent)

    @property
    def conditions(self) -> tuple[str, ...]:
        """What it asks for besides the failure mode, in words."""
        return tuple(
            text
            for text, asked in (
                (f"found by {self.detector}", self.detector),
                (f"confidence >= {self.min_confidence:g}", self.min_confidence),
                (f"severity >= {self.min_severity}", self.min_severity is not Severity.INFO),
                (f"agent {self.agent}", self.agent),
                *((f"label {name}={value}", True) for name, value in self.labels.items()),
                (f"between {self.between}", self.between),
                (f"cost over ${self.cost_usd.over:g}" if self.cost_usd else "", self.cost_usd),
            )
            if asked
        )


def _at_most(low: Over | None, high: Over | None) -> bool:
    return low is None or (high is not None and low.over <= high.over)


def repeated_names(rules: object) -> list[InitErrorDetails]:
    """A fault for each rule that has another one's name."""
    faults: list[InitErrorDetails] = []
    first: dict[str, int] = {}
    for index, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        name = rule.get("name") if isinstance(rule, dict) else getattr(rule, "name", None)
        if isinstance(name, str) and first.setdefault(name, index) != index:
            reason = f"{shown(name)} is already the name of rules[{first[name]}]"
            faults.append(fault(reason, (index, "name")))
    return faults


def unreachable(rules: tuple[Rule, ...]) -> list[InitErrorDetails]:
    """Rules that never decide, since an earlier one takes every verdict they match."""
    faults: list[InitErrorDetails] = []
    for index, rule in enumerate(rules):
        earlier = (other for other in rules[:index] if other.enabled and other.covers(rule))
        if rule.enabled and (first := next(earlier, None)) is not None:
            reason = f"never decides: {shown(first.name)} comes first and takes all it matches"
            faults.append(fault(reason, (index,)))
    return faults
