"""`choose: best`: which of several actions to take, by their record so far.

Thompson sampling (Thompson, 1933; Russo et al., A Tutorial on Thompson Sampling, 2018): for
each action a rate of success is drawn from what its record allows, Beta(helped + 1,
failed + 1), and the highest draw is taken. So an action is taken as often as it is likely
to be the best one, and one that was seldom tried gets its chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import TypeVar

from supervisor.policy.situation import Record

__all__ = ["best"]

Option = TypeVar("Option")


def best(
    options: Sequence[tuple[str, Option]],
    failure_mode: str,
    record: Record,
    *,
    explore: float,
    seed: str,
) -> tuple[Option, str]:
    """One of `options` (an action's name, and what stands for it), and why. The same
    arguments give the same answer; `explore` of all seeds take any at random."""
    draw = Random(seed)
    if draw.random() < explore:
        name, option = draw.choice(options)
        return option, f"{name} of {len(options)} at random"
    rated = []
    for name, option in options:
        helped, failed = record.get((failure_mode, name), (0, 0))
        rated.append((draw.betavariate(helped + 1, failed + 1), name, helped, failed, option))
    _, name, helped, failed, option = max(rated, key=lambda one: one[0])
    tried = f"helped {helped} times in {helped + failed}" if helped + failed else "never tried"
    return option, f"{name} of {len(options)}, {tried}"
