"""`Policy`: what to do for which verdict. Frozen values, checked as they are made.

Validated with `Plugins` as context (`load.parse_policy` does), names of detectors,
actions and failure modes are looked up and their settings checked. Without it the
parts must be given as values, as a program that builds a policy does.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails

from supervisor.core.action import Action, ActionParams
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.verdict import FailureMode, Severity
from supervisor.policy.faults import fault, faults_in, refused, shown, unknown

__all__ = [
    "MAX_INTERVENTIONS",
    "Cooldown",
    "Duration",
    "Limit",
    "Limits",
    "Mode",
    "Plugins",
    "Policy",
    "Rule",
    "Rung",
    "duration_text",
    "parse_duration",
]

MAX_INTERVENTIONS = 1000
"""The highest `max` of a limit: so many acted decisions are remembered."""

_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours"}
_DURATION = re.compile(r"(\d{1,9})(ms|s|m|h)")
_ENTRIES = re.compile(r"([1-9]\d{0,8}) (?:entry|entries)")

ModelT = TypeVar("ModelT", bound=BaseModel)


@dataclass(frozen=True)
class Plugins:
    """The detectors and actions a policy may name."""

    detectors: Mapping[str, type[Detector]] = field(default_factory=dict)
    actions: Mapping[str, type[Action]] = field(default_factory=dict)

    def detectable(self) -> frozenset[FailureMode]:
        """The failure modes that some detector finds."""
        return frozenset(detector.failure_mode for detector in self.detectors.values())


def _plugins(info: ValidationInfo) -> Plugins | None:
    return info.context if isinstance(info.context, Plugins) else None


def parse_duration(value: object) -> timedelta:
    """A whole number and a unit: `500ms`, `45s`, `30m`, `2h`. Raises `ValueError`.

    >>> parse_duration("30m")
    datetime.timedelta(seconds=1800)
    """
    if isinstance(value, timedelta):
        return value
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError(
            f"must be a whole number and a unit (ms, s, m or h), such as '30m', not {shown(value)}"
        )
    duration = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if not duration:
        raise ValueError(f"must be longer than no time at all, not {shown(value)}")
    return duration


def duration_text(duration: timedelta) -> str:
    """The shortest text that `parse_duration` reads as `duration`, cut to milliseconds.

    >>> duration_text(timedelta(minutes=90))
    '90m'
    """
    for unit in ("h", "m", "s"):
        count, rest = divmod(duration, timedelta(**{_UNITS[unit]: 1}))
        if not rest:
            return f"{count}{unit}"
    return f"{duration // timedelta(milliseconds=1)}ms"


Duration = Annotated[timedelta, BeforeValidator(parse_duration)]


class _Part(BaseModel):
    """A part of a policy: frozen, and an unknown key is a fault that names the nearest."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="wrap")
    @classmethod
    def _explain(cls, value: object, handler: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            return handler(value)
        except ValidationError as error:
            raise refused(*faults_in(error, cls)) from None


class Mode(StrEnum):
    """Whether decisions are carried out."""

    ACT = "act"
    OBSERVE = "observe"


class Rung(_Part):
    """One step of a ladder: an action with its parameters."""

    action: str
    params: SerializeAsAny[ActionParams] = ActionParams()


class Cooldown(_Part):
    """How far a rule's decisions for one agent must be apart: a time or a number of entries."""

    time: timedelta | None = None
    entries: int | None = None


def _read_cooldown(value: object) -> object:
    if value is None or isinstance(value, Cooldown):
        return value
    text = value if isinstance(value, str) else ""
    if match := _ENTRIES.fullmatch(text):
        return Cooldown(entries=int(match[1]))
    if _DURATION.fullmatch(text):
        return Cooldown(time=parse_duration(text))
    raise refused(fault(f"must be such as '30s' or '4 entries', not {shown(value)}"))


def _read_rung(value: object, info: ValidationInfo) -> object:
    plugins = _plugins(info)
    if plugins is None or isinstance(value, Rung):
        return value
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, dict):
        raise refused(fault(f"must be an action's name, not {shown(value)}"))
    if len(value) != 1:
        keys = ", ".join(map(shown, value)) or "none"
        reason = f"must be one action, with its parameters indented below it; its keys are {keys}"
        raise refused(fault(reason))
    [(name, params)] = value.items()
    action = plugins.actions.get(name)
    if action is None:
        raise refused(fault(unknown("action", name, plugins.actions), (name,), "key"))
    return Rung(action=name, params=_plugin_settings(name, action.Params, params))


def _plugin_settings(name: str, model: type[ModelT], value: object) -> ModelT:
    """`value` as a plugin's settings. Strict: text is no number, and `"no"` is not false."""
    try:
        return model.model_validate_json(json.dumps({} if value is None else value), strict=True)
    except ValidationError as error:
        raise refused(*faults_in(error, model, (name,))) from None


def _read_mode(value: object, info: ValidationInfo) -> object:
    plugins = _plugins(info)
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


RungSource = Annotated[Rung, BeforeValidator(_read_rung)]
Modes = Annotated[
    tuple[Annotated[FailureMode, BeforeValidator(_read_mode)], ...],
    Field(min_length=1),
    BeforeValidator(_as_list),
]


class Limit(_Part):
    """At most `max` acted decisions in any `per`; beyond, `then` or nothing."""

    max: int = Field(strict=True, ge=1, le=MAX_INTERVENTIONS)
    per: Duration
    then: RungSource | None = None


class Limits(_Part):
    """What a session may be put through as a whole, all rules and agents together."""

    interventions: Limit | None = None


class Rule(_Part):
    """Which verdicts it answers, and the ladder of actions it answers them with."""

    name: str = Field(strict=True, min_length=1, max_length=100)
    on: Modes
    detector: str | None = None
    """Answers only this detector's verdicts; None for every detector's."""
    min_confidence: float = Field(default=0.0, strict=True, ge=0, le=1)
    min_severity: Severity = Severity.INFO
    cooldown: Annotated[Cooldown | None, BeforeValidator(_read_cooldown)] = None
    ladder: tuple[RungSource, ...] = Field(min_length=1)

    @field_validator("detector")
    @classmethod
    def _detector_exists(cls, value: str | None, info: ValidationInfo) -> str | None:
        plugins = _plugins(info)
        if plugins is None or value is None or value in plugins.detectors:
            return value
        raise refused(fault(unknown("detector", value, plugins.detectors)))

    @model_validator(mode="after")
    def _detector_finds_the_modes(self, info: ValidationInfo) -> Self:
        plugins = _plugins(info)
        if plugins is None or self.detector is None:
            return self
        mode = plugins.detectors[self.detector].failure_mode
        if strays := [shown(str(other)) for other in self.on if other != mode]:
            reason = f"{self.detector!r} finds only {str(mode)!r}, never {' or '.join(strays)}"
            raise refused(fault(reason, ("detector",)))
        return self

    def covers(self, other: Rule) -> bool:
        """Whether it matches every verdict that `other` matches."""
        ranks = list(Severity)
        return (
            set(self.on) >= set(other.on)
            and self.detector in (None, other.detector)
            and self.min_confidence <= other.min_confidence
            and ranks.index(self.min_severity) <= ranks.index(other.min_severity)
        )


class Policy(_Part):
    """What to do for which verdict. The first rule that matches decides."""

    version: Literal[1]
    mode: Mode = Mode.ACT
    limits: Limits = Limits()
    detectors: Mapping[str, SerializeAsAny[DetectorConfig]] = Field(
        default_factory=dict, validate_default=True
    )
    """One configuration for every known detector: the file's, else the defaults."""
    rules: tuple[Rule, ...] = Field(min_length=1)

    @field_validator("version", mode="before")
    @classmethod
    def _version_is_known(cls, value: object) -> object:
        # Python takes true and 1.0 for 1.
        if type(value) is int and value == 1:
            return value
        raise refused(fault(f"must be 1, the version this Lucid reads, not {shown(value)}"))

    @field_validator("detectors", mode="before")
    @classmethod
    def _configure_detectors(cls, value: object, info: ValidationInfo) -> object:
        plugins = _plugins(info)
        if plugins is None:
            return value
        settings = {} if value is None else value
        if not isinstance(settings, dict):
            raise refused(fault(f"must be a mapping of detectors' names, not {shown(value)}"))
        return _configurations(settings, plugins.detectors)

    @field_validator("rules", mode="wrap")
    @classmethod
    def _every_rule_counts(
        cls, value: object, handler: ValidatorFunctionWrapHandler
    ) -> tuple[Rule, ...]:
        repeated = _repeated_names(value)
        try:
            rules: tuple[Rule, ...] = handler(value)
        except ValidationError as error:
            raise refused(*repeated, *faults_in(error, cls)) from None
        if faults := [*repeated, *_unreachable(rules)]:
            raise refused(*faults)
        return rules


def _configurations(
    settings: Mapping[str, object], detectors: Mapping[str, type[Detector]]
) -> dict[str, DetectorConfig]:
    faults = [
        fault(unknown("detector", name, detectors), (name,), "key")
        for name in settings
        if name not in detectors
    ]
    configs: dict[str, DetectorConfig] = {}
    for name, detector in detectors.items():
        value = settings.get(name)
        if isinstance(value, bool):
            faults.append(fault(f"must be a mapping, such as {{enabled: {shown(value)}}}", (name,)))
            continue
        try:
            configs[name] = _plugin_settings(name, detector.Config, value)
        except ValidationError as error:
            faults += faults_in(error, detector.Config)
    if faults:
        raise refused(*faults)
    return configs


def _repeated_names(rules: object) -> list[InitErrorDetails]:
    faults: list[InitErrorDetails] = []
    first: dict[str, int] = {}
    for index, rule in enumerate(rules if isinstance(rules, (list, tuple)) else ()):
        name = rule.get("name") if isinstance(rule, dict) else getattr(rule, "name", None)
        if isinstance(name, str) and first.setdefault(name, index) != index:
            reason = f"{shown(name)} is already the name of rules[{first[name]}]"
            faults.append(fault(reason, (index, "name")))
    return faults


def _unreachable(rules: tuple[Rule, ...]) -> list[InitErrorDetails]:
    """Rules that never decide, since an earlier one takes every verdict they match."""
    faults: list[InitErrorDetails] = []
    for index, rule in enumerate(rules):
        earlier = next((other for other in rules[:index] if other.covers(rule)), None)
        if earlier is not None:
            reason = f"never decides: {shown(earlier.name)} comes first and takes all it matches"
            faults.append(fault(reason, (index,)))
    return faults
