"""A ladder's steps as they are written and as they are kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    Field,
    SerializeAsAny,
    ValidationError,
    ValidationInfo,
)

from supervisor.core.action import ActionParams
from supervisor.core.duration import parse_duration
from supervisor.core.text import shown
from supervisor.policy.document import Json
from supervisor.policy.faults import fault, faults_in, refused, unknown
from supervisor.policy.parts import Part, Plugins, plugin_settings, plugins_of

__all__ = [
    "EXPLORE",
    "MAX_ATTEMPTS",
    "Cooldown",
    "Distance",
    "Pace",
    "Rung",
    "RungSource",
    "Selection",
]

EXPLORE = 0.1
"""How often `choose: best` takes any of its actions at random, so that one with an unlucky
start is tried again: one time in ten costs little and finds what has changed."""

MAX_ATTEMPTS = 1000
"""Attempts of a step that is taken until it helps: as many as `attempts` may say."""

_DURATION = re.compile(r"\d{1,9}(?:ms|s|m|h|d)")
_ENTRIES = re.compile(r"([1-9]\d{0,8}) (?:entry|entries)")


class Cooldown(Part):
    """A distance between decisions: a time or a number of entries."""

    time: timedelta | None = None
    entries: int | None = None


def _read_distance(value: object) -> object:
    if value is None or isinstance(value, Cooldown):
        return value
    text = value if isinstance(value, str) else ""
    if match := _ENTRIES.fullmatch(text):
        return Cooldown(entries=int(match[1]))
    if _DURATION.fullmatch(text):
        return Cooldown(time=parse_duration(text))
    raise refused(fault(f"must be such as '30s' or '4 entries', not {shown(value)}"))


Distance = Annotated[Cooldown | None, BeforeValidator(_read_distance)]


class Pace(Part):
    """What every step may say besides its action's parameters."""

    wait: Distance = None
    """How far the ladder's last step, or for the first one the first sight of the failure,
    must be away."""
    until: Literal["cleared"] | None = None
    """Taken again and again until it helps, within the policy's limits."""
    optional: bool = Field(default=False, strict=True)
    """Passed over where the policy names nobody for it: no target to tell, no judge to ask.
    Without it, such a step is a fault."""


class Rung(Pace):
    """One step of a ladder: an action with its parameters, or several to choose from."""

    action: str
    params: SerializeAsAny[ActionParams] = ActionParams()
    others: tuple[Rung, ...] = ()
    """Where the step is to choose the best: the actions besides this one."""
    explore: float = EXPLORE

    @property
    def options(self) -> tuple[Rung, ...]:
        """The actions it may come to."""
        return (self, *self.others)

    def attempts(self, action: str | None) -> int:
        """How often the step is taken with this action while it does not help; the policy's
        limits hold before that."""
        if self.until is not None:
            return MAX_ATTEMPTS
        return next((o.params.attempts for o in self.options if o.action == action), 1)

    def __str__(self) -> str:
        """Its action's name, or how it chooses one."""
        if not self.others:
            return self.action
        return f"best of {', '.join(option.action for option in self.options)}"


def _read_rung(value: object, info: ValidationInfo) -> object:
    plugins = plugins_of(info)
    if plugins is None or isinstance(value, Rung):
        return value
    if isinstance(value, str):
        value = {value: None}
    if not isinstance(value, dict):
        raise refused(fault(f"must be an action's name, not {shown(value)}"))
    if "choose" in value:
        return _selected(Selection.model_validate(value, context=plugins))
    if len(value) != 1:
        keys = ", ".join(map(shown, value)) or "none"
        reason = f"must be one action, with its parameters indented below it; its keys are {keys}"
        raise refused(fault(reason))
    [(name, settings)] = value.items()
    return _rung(name, settings, plugins)


def _rung(name: str, settings: Json, plugins: Plugins) -> Rung:
    action = plugins.actions.get(name)
    if action is None:
        raise refused(fault(unknown("action", name, plugins.actions), (name,), "key"))
    own: Mapping[str, Json] = {}
    if isinstance(settings, dict):
        own = {key: settings[key] for key in Pace.model_fields if key in settings}
        settings = {key: value for key, value in settings.items() if key not in own}
    faults = []
    pace, params = Pace(), ActionParams()
    try:
        pace = Pace.model_validate(own, context=plugins)
    except ValidationError as error:
        faults += faults_in(error, Pace, (name,))
    try:
        params = plugin_settings((name,), action.Params, settings)
    except ValidationError as error:
        faults += faults_in(error, action.Params)
    if pace.until is not None and params.attempts != 1:
        faults.append(fault("leave out either 'attempts' or 'until'", (name, "until")))
    if faults:
        raise refused(*faults)
    return Rung(action=name, params=params, **_own(pace))


def _own(pace: Pace) -> dict[str, Any]:
    return {name: getattr(pace, name) for name in Pace.model_fields}


RungSource = Annotated[Rung, BeforeValidator(_read_rung)]


class Selection(Pace):
    """A step that chooses among actions, as it is written."""

    choose: Literal["best"]
    of: tuple[RungSource, ...] = Field(min_length=2)
    explore: float = Field(default=EXPLORE, strict=True, ge=0, le=1)
    """How often an action is taken at random, whatever its record."""


def _selected(selection: Selection) -> Rung:
    faults = [
        fault("belongs to the step that chooses, beside 'of'", ("of", index))
        for index, option in enumerate(selection.of)
        if option.others or option.wait or option.until or option.optional
    ]
    if faults:
        raise refused(*faults)
    first, *others = selection.of
    return Rung(
        action=first.action,
        params=first.params,
        others=tuple(others),
        explore=selection.explore,
        **_own(selection),
    )
