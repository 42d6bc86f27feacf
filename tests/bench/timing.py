"""How times are taken and summed up."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from statistics import quantiles
from time import thread_time_ns
from typing import TypeVar

__all__ = ["percentile", "times_us"]

Item = TypeVar("Item")


def times_us(work: Callable[[Item], object], items: Iterable[Item]) -> list[float]:
    """Microseconds that the work takes on each item, one after another: of the processor's
    time, so that what else the machine does is not counted."""
    times: list[float] = []
    for item in items:
        began = thread_time_ns()
        work(item)
        times.append((thread_time_ns() - began) / 1_000)
    return times


def percentile(values: list[float], percent: int) -> float:
    """The value that so many percent of the values do not exceed."""
    return quantiles(values, n=100, method="inclusive")[percent - 1]
