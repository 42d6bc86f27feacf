"""What a rule on the end of a turn may be: `on: stop`, and a ladder that ends."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic_core import InitErrorDetails

from supervisor.core.action import Capability
from supervisor.core.verdict import FailureMode
from supervisor.policy.faults import fault
from supervisor.policy.parts import Plugins
from supervisor.policy.rung import Rung

__all__ = ["faults_on_stops"]


def faults_on_stops(
    on: Sequence[FailureMode], ladder: Sequence[Rung], plugins: Plugins
) -> list[InitErrorDetails]:
    """What is wrong with a rule's ladder, seen from the end of a turn."""
    if FailureMode.STOP not in on:
        return [
            fault("only answers an agent that is about to stop: a rule 'on: stop'", place)
            for place, option in _options(ladder)
            if Capability.REFUSE_STOP in _needs(option, plugins)
        ]
    if len(on) > 1:
        return [fault("'stop' is no failure: it takes a rule of its own", ("on",))]
    return [
        fault("might keep the agent from stopping for ever: say 'attempts'", (*place, "until"))
        for place, option in _options(ladder)
        if option.until is not None
    ]


def _needs(rung: Rung, plugins: Plugins) -> frozenset[Capability]:
    action = plugins.actions.get(rung.action)
    return action.needs if action is not None else frozenset()


def _options(ladder: Sequence[Rung]) -> list[tuple[tuple[int | str, ...], Rung]]:
    return [
        (("ladder", index, option.action), option)
        for index, rung in enumerate(ladder)
        for option in rung.options
    ]
