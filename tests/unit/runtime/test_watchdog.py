"""The watchdog tells of silence, by what the agent is silent in. Time leaps here."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from supervisor.policy.limits import Silence
from supervisor.runtime.watchdog import Doing, Watchdog

MODEL, TOOL = 20.0, 120.0
LIMITS = Silence(model=timedelta(seconds=MODEL), tool=timedelta(seconds=TOOL))
LATE = MODEL / 4
"""It looks four times in the shorter limit, and so tells that much late at most."""


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock leaps to what is due next, where others wait for it."""

    def __init__(self) -> None:
        self.now = 0.0
        loop = self

        class Leaping(selectors.DefaultSelector):
            def select(
                self, timeout: float | None = None
            ) -> list[tuple[selectors.SelectorKey, int]]:
                loop.now += max(0.0, timeout or 0.0)
                return super().select(0)

        super().__init__(Leaping())

    def time(self) -> float:
        return self.now


class Watched:
    """An agent that does what the test says, and when its watchdog told of silence."""

    def __init__(self) -> None:
        self.doing: Doing = "model"
        self.told: list[tuple[float, float]] = []
        """The time, and for how long it had been silent then."""
        self.watchdog = Watchdog(LIMITS, doing=lambda: self.doing, on_silent=self._silent)

    async def _silent(self, quiet: timedelta) -> None:
        self.told.append((asyncio.get_running_loop().time(), quiet.total_seconds()))


Course = Callable[[Watched], Awaitable[None]]


def watched_during(course: Course) -> Watched:
    """What came of watching an agent during this course of events."""

    async def watch() -> Watched:
        agent = Watched()
        watching = asyncio.create_task(agent.watchdog.watch())
        await course(agent)
        watching.cancel()
        return agent

    with asyncio.Runner(loop_factory=LeapingLoop) as runner:
        return runner.run(watch())


@pytest.mark.parametrize(("doing", "limit"), [("model", MODEL), ("tool", TOOL)])
def test_it_tells_at_the_limit_of_what_the_agent_does(doing: Doing, limit: float) -> None:
    async def silent(agent: Watched) -> None:
        agent.doing = doing
        await asyncio.sleep(limit + LATE)

    [(at, quiet)] = watched_during(silent).told

    assert limit <= at <= limit + LATE
    assert quiet == at


def test_it_tells_once_for_each_silence() -> None:
    async def silent(agent: Watched) -> None:
        await asyncio.sleep(3 * (MODEL + LATE))

    told = watched_during(silent).told

    assert len(told) == 3
    assert all(MODEL <= quiet <= MODEL + LATE for _, quiet in told)


def test_a_sign_of_life_begins_the_time_anew() -> None:
    async def slow(agent: Watched) -> None:
        for _ in range(10):
            await asyncio.sleep(MODEL - LATE)
            agent.watchdog.heard()

    assert watched_during(slow).told == []


def test_an_agent_that_has_nothing_to_do_is_not_silent() -> None:
    async def idle(agent: Watched) -> None:
        agent.doing = "nothing"
        await asyncio.sleep(10 * TOOL)

    assert watched_during(idle).told == []


def test_the_time_before_it_was_asked_does_not_count() -> None:
    async def asked_late(agent: Watched) -> None:
        agent.doing = "nothing"
        await asyncio.sleep(10 * MODEL)
        agent.doing = "model"
        await asyncio.sleep(MODEL - LATE)

    assert watched_during(asked_late).told == []
