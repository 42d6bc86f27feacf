"""What an agent takes, counted against what it may take."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from pydantic import ValidationError

from detectors.budget import Allowance, Budget, BudgetConfig, Price
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall, Usage
from supervisor.core.verdict import Verdict
from supervisor.errors import PolicyError
from supervisor.policy.load import parse_policy
from supervisor.policy.stored import restored_policy
from supervisor.runtime.registry import actions, detectors
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
EVERYTHING = BudgetConfig(
    session=Allowance(calls=1, tokens=1, cost_usd=0.01, time=timedelta(seconds=1)),
    turn=Allowance(calls=1, tokens=1, cost_usd=0.01, time=timedelta(seconds=1)),
    prices={"claude": Price(input=1, output=1)},
)


def calls(count: int, first: int = 1) -> Iterator[Entry]:
    for seq in range(first, first + count):
        yield ToolCall(
            session_id="s",
            transcript="t",
            seq=seq,
            call_id=f"c{seq}",
            tool="Bash",
            input=msgspec.Raw(b"{}"),
        )


def prompt(seq: int, origin: Origin, at: datetime | None = None) -> Prompt:
    return Prompt(session_id="s", transcript="t", seq=seq, text="Go.", origin=origin, at=at)


def text(seq: int, tokens: int, message: str | None = None, model: str = "claude") -> Text:
    place = {"session_id": "s", "transcript": "t", "seq": seq, "text": "So."}
    usage = Usage(output_tokens=tokens)
    return Text(**place, message_id=message, model=model, usage=usage)


def places(found: list[Verdict]) -> list[int]:
    return [verdict.seq for verdict in found]


def test_it_is_off_without_limits() -> None:
    assert verdicts_of(Budget(), workload(500)) == []


def test_it_tells_when_a_limit_is_passed_and_at_each_further_tenth() -> None:
    found = verdicts_of(Budget(BudgetConfig(session=Allowance(calls=100))), calls(130))

    assert places(found) == [101, 112, 123]
    assert {verdict.key for verdict in found} == {"calls a session"}


@pytest.mark.parametrize(
    ("origin", "fires"),
    [(Origin.USER, False), (Origin.AGENT, False), (Origin.LUCID, True), (Origin.TASK, True)],
)
def test_only_what_the_user_asks_begins_a_turn(origin: Origin, fires: bool) -> None:
    entries = [*calls(3), prompt(4, origin), *calls(3, first=5)]
    found = verdicts_of(Budget(BudgetConfig(turn=Allowance(calls=4))), entries)

    assert bool(found) is fires


def test_a_message_counts_once_and_as_its_last_block_says() -> None:
    budget = Budget(BudgetConfig(session=Allowance(tokens=150)))

    assert verdicts_of(budget, [text(1, 10, "m"), text(2, 100, "m"), text(3, 100, "m")]) == []
    assert places(verdicts_of(budget, [text(4, 100, "n")])) == [4]


def test_messages_without_an_id_count_each() -> None:
    budget = Budget(BudgetConfig(session=Allowance(tokens=150)))
    assert places(verdicts_of(budget, [text(1, 100), text(2, 100)])) == [2]


@pytest.mark.parametrize(
    ("model", "cost"),
    [("claude-opus-9", "$25.00"), ("claude-else", "$1.00"), ("other", "$25.00"), ("", "$25.00")],
)
def test_the_longest_name_that_fits_prices_a_model_and_none_is_free(model: str, cost: str) -> None:
    prices = {"claude": Price(input=1, output=1), "claude-opus": Price(input=5, output=25)}
    config = BudgetConfig(session=Allowance(cost_usd=0.5), prices=prices)
    (found,) = verdicts_of(Budget(config), [text(1, 1_000_000, model=model)])

    assert found.evidence.facts["taken"] == cost


def test_cached_tokens_cost_what_is_said_or_what_fresh_ones_do() -> None:
    usage = Usage(cache_read_tokens=1_000_000, cache_write_tokens=1_000_000)

    assert Price(input=2, output=9).of(usage) == 4
    assert Price(input=2, output=9, cache_read=0.5, cache_write=3).of(usage) == 3.5


def test_silence_counts_from_the_first_tick_and_is_told_once_an_entry() -> None:
    budget = Budget(BudgetConfig(session=Allowance(time=timedelta(minutes=10))))
    verdicts_of(budget, [prompt(1, Origin.USER, NOON - timedelta(days=1))])
    ticks = [NOON + timedelta(minutes=minute) for minute in range(0, 60, 5)]
    found = [verdict for tick in ticks for verdict in budget.tick(tick)]

    assert [verdict.evidence.facts["taken"] for verdict in found] == ["15m"]


def test_an_agent_that_waits_for_a_prompt_takes_no_time() -> None:
    budget = Budget(BudgetConfig(session=Allowance(time=timedelta(minutes=10))))
    done = Text(session_id="s", transcript="t", seq=2, text="Done.", stop_reason="end_turn")
    verdicts_of(budget, [prompt(1, Origin.USER, NOON), done])

    assert [*budget.tick(NOON), *budget.tick(NOON + timedelta(days=1))] == []


def test_its_state_does_not_grow() -> None:
    sizes = []
    for length in (1_000, 5_000):
        budget = Budget(EVERYTHING)
        assert verdicts_of(budget, workload(length))
        sizes.append(deep_size(budget))
    assert max(sizes) - min(sizes) < 500
    assert max(sizes) < 16_000


def test_a_limit_on_cost_needs_prices() -> None:
    with pytest.raises(ValidationError, match="needs prices"):
        BudgetConfig(turn=Allowance(cost_usd=1))


def test_a_policy_with_a_budget_can_be_stored_and_read_again() -> None:
    """Times are written as people write them, in a row of the store too."""
    plugins = {"detectors": detectors(), "actions": actions()}
    text = """
        version: 1
        detectors: {budget: {session: {time: 90m, calls: 500}}}
        rules: [{name: stay in budget, on: overrun, ladder: [nudge, abort]}]
    """
    policy = parse_policy(text, "p.yaml", **plugins)

    assert restored_policy(policy.model_dump_json(), "row", **plugins) == policy
    assert policy.detectors["budget"] == BudgetConfig(
        session=Allowance(time=timedelta(minutes=90), calls=500)
    )


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ("session: {call: 3}", "budget.session.call: unknown key 'call'; did you mean 'calls'?"),
        ("prices: {claude: {inptu: 3, output: 1}}", "inptu: unknown key 'inptu'; did you mean"),
        ("session: {cost_usd: 3}", "budget: a limit on cost_usd needs prices"),
        ("turn: {time: 3}", "budget.turn.time: must be a whole number and a unit"),
        ("turn: {calls: 0}", "budget.turn.calls: "),
    ],
)
def test_a_faulty_budget_is_a_fault_of_the_policy(settings: str, fault: str) -> None:
    rules = "rules: [{name: r, on: overrun, ladder: [nudge]}]"
    text = f"version: 1\ndetectors:\n  budget: {{{settings}}}\n{rules}"
    with pytest.raises(PolicyError) as raised:
        parse_policy(text, "p.yaml", detectors=detectors(), actions=actions())

    assert fault in str(raised.value)
