"""`resume` waits as long as it is worth, and within its budgets."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from recovery.resume import Resume, ResumeParams
from supervisor.core.decision import Decision
from supervisor.core.interruption import Cause, GoOn, Interruption, Outage
from supervisor.errors import ActionError

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
CALM = ResumeParams(first_wait=timedelta(seconds=2), longest_wait=timedelta(seconds=60))


def interruption(**changes: Any) -> Interruption:
    given: dict[str, Any] = {
        "cause": Cause.OVERLOADED,
        "go_on": GoOn.CONTINUE,
        "reason": "The service is overloaded.",
        "back_off": True,
    }
    return Interruption(**(given | changes))


def seconds(waits: list[timedelta]) -> list[float]:
    return [wait.total_seconds() for wait in waits]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Have the jitter drawn at this part of its range, from 0 to 1."""

    def draw(part: float) -> None:
        monkeypatch.setattr(random, "uniform", lambda low, high: low + part * (high - low))

    return draw


def test_waits_double_up_to_the_longest(drawn: Callable[[float], None]) -> None:
    drawn(1.0)

    waits = [CALM.wait(interruption(), attempt, NOW) for attempt in (1, 2, 3, 5, 6, 1000)]

    assert seconds(waits) == [2, 4, 8, 32, 60, 60]


def test_jitter_takes_away_half_at_most(drawn: Callable[[float], None]) -> None:
    drawn(0.0)

    waits = [CALM.wait(interruption(), attempt, NOW) for attempt in (1, 2, 1000)]

    assert seconds(waits) == [1, 2, 30]


def test_what_is_nobodys_overload_is_gone_on_with_at_once() -> None:
    killed = interruption(cause=Cause.KILLED_IN_CALL, back_off=False)

    assert CALM.wait(killed, 1, NOW) == timedelta()
    assert CALM.wait(killed, 2, NOW) >= timedelta(seconds=2), "but not again and again"


def test_a_wait_that_the_service_asks_for_is_kept_to_in_full(
    drawn: Callable[[float], None],
) -> None:
    drawn(0.0)
    later = interruption(not_before=NOW + timedelta(minutes=5))

    assert CALM.wait(later, 1, NOW) == timedelta(minutes=5, seconds=1)
    assert CALM.wait(later, 1, NOW + timedelta(hours=1)) == timedelta(seconds=1)


@pytest.fixture
def resumed(agent: Any, decision: Decision) -> Callable[..., Any]:
    """Run the action on an outage."""

    async def run(
        params: ResumeParams, outage: Outage | None, *, attempt: int = 1
    ) -> tuple[str, list[tuple[str, timedelta]]]:
        agent.interrupted = outage
        tried = msgspec.structs.replace(decision, attempt=attempt)
        result = await Resume().run(tried, params, agent)
        return result.detail, agent.done

    return run


def outage(since: timedelta = timedelta(), cost_usd: float = 0.0, **changes: Any) -> Outage:
    began = datetime.now(UTC) - since
    return Outage(interruption=interruption(**changes), began=began, cost_usd=cost_usd)


@pytest.mark.anyio
async def test_it_says_how_long_it_waited_and_what_it_did(
    resumed: Callable[..., Any], drawn: Callable[[float], None]
) -> None:
    drawn(1.0)

    detail, done = await resumed(CALM, outage(), attempt=2)

    assert detail == "waited 4.0 s and had the agent continue"
    assert done == [("resume", timedelta(seconds=4))]


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("changes", "interrupted", "why"),
    [
        ({"cost_usd": 1.0}, {"cost_usd": 1.0}, r"has cost 1\.00 USD, of 1\.00 allowed"),
        ({"within": "1h"}, {"since": timedelta(hours=1)}, "later than 1h after"),
        (
            {"within": "1h"},
            {"not_before": datetime.now(UTC) + timedelta(hours=3)},
            r"due in [23]:\d\d:\d\d, later than 1h after",
        ),
    ],
    ids=["cost", "time", "asked for too long a wait"],
)
async def test_beyond_its_budget_it_does_not_go_on(
    changes: dict[str, Any],
    interrupted: dict[str, Any],
    why: str,
    resumed: Callable[..., Any],
) -> None:
    with pytest.raises(ActionError, match=why):
        await resumed(ResumeParams.model_validate(changes), outage(**interrupted))


@pytest.mark.anyio
async def test_the_cost_is_no_matter_below_its_bound(resumed: Callable[..., Any]) -> None:
    quick = ResumeParams(first_wait=timedelta(), cost_usd=1.0)

    detail, _ = await resumed(quick, outage(cost_usd=0.99))

    assert detail == "had the agent continue"


@pytest.mark.anyio
async def test_only_an_interrupted_turn_is_resumed(resumed: Callable[..., Any]) -> None:
    with pytest.raises(ActionError, match="not interrupted"):
        await resumed(CALM, None)
