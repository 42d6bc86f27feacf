"""One result for a turn that took several: what is summed, and over which processes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from claude_agent_sdk import ResultMessage

from supervisor.runtime.ledger import Ledger


def result(**fields: Any) -> ResultMessage:
    usual: dict[str, Any] = {
        "subtype": "success",
        "duration_ms": 1_000,
        "duration_api_ms": 800,
        "is_error": False,
        "num_turns": 3,
        "session_id": "s",
    }
    return ResultMessage(**(usual | fields))


def test_a_turn_of_one_part_is_as_the_sdk_says() -> None:
    alone = result(
        total_cost_usd=0.5, usage={"input_tokens": 1}, model_usage={"opus": {"costUSD": 0.5}}
    )
    assert Ledger().whole(alone) == alone


def test_turns_and_times_are_summed() -> None:
    ledger = Ledger()
    ledger.absorb(result(num_turns=4, duration_ms=100, duration_api_ms=10, is_error=True))
    ledger.absorb(result(num_turns=2, duration_ms=200, duration_api_ms=20))
    assert ledger.turns == 6

    whole = ledger.whole(result(num_turns=1, duration_ms=300, duration_api_ms=30, result="done"))

    assert (whole.num_turns, whole.duration_ms, whole.duration_api_ms) == (7, 600, 60)
    assert (whole.result, whole.is_error, whole.subtype) == ("done", False, "success")
    assert ledger.turns == 0, "the next turn begins at nothing"


def test_tokens_are_summed_and_what_is_no_number_is_the_last_parts() -> None:
    ledger = Ledger()
    ledger.absorb(
        result(
            usage={
                "input_tokens": 10,
                "server_tool_use": {"web_search_requests": 1},
                "service_tier": "priority",
                "fast": True,
                "iterations": [1],
                "only_here": 7,
            }
        )
    )
    whole = ledger.whole(
        result(
            usage={
                "input_tokens": 5,
                "server_tool_use": {"web_search_requests": 2, "web_fetch_requests": 3},
                "service_tier": "standard",
                "fast": False,
                "iterations": [2],
            }
        )
    )
    assert whole.usage == {
        "input_tokens": 15,
        "server_tool_use": {"web_search_requests": 3, "web_fetch_requests": 3},
        "service_tier": "standard",
        "fast": False,
        "iterations": [2],
        "only_here": 7,
    }


def test_cost_within_one_process_is_its_running_total() -> None:
    ledger = Ledger()
    ledger.absorb(result(total_cost_usd=0.50, model_usage={"opus": {"costUSD": 0.50}}))
    whole = ledger.whole(result(total_cost_usd=0.75, model_usage={"opus": {"costUSD": 0.75}}))

    assert whole.total_cost_usd == 0.75
    assert whole.model_usage == {"opus": {"costUSD": 0.75}}


def test_cost_over_two_processes_is_the_sum_of_their_totals() -> None:
    ledger = Ledger()
    ledger.whole(result(total_cost_usd=0.25))  # an earlier turn of the caller's
    ledger.absorb(result(total_cost_usd=0.50))
    ledger.process_ended()

    assert ledger.whole(result(total_cost_usd=0.25)).total_cost_usd == 0.75
    # The next turn's running total still begins where the new process did.
    assert ledger.whole(result(total_cost_usd=0.35)).total_cost_usd == pytest.approx(0.85)


def test_a_second_fork_of_one_turn_counts_each_process_once() -> None:
    ledger = Ledger()
    ledger.absorb(result(total_cost_usd=0.5))
    ledger.process_ended()
    ledger.absorb(result(total_cost_usd=0.25))
    ledger.process_ended()

    assert ledger.whole(result(total_cost_usd=0.125)).total_cost_usd == 0.875


def test_usage_by_model_is_summed_over_processes_and_limits_are_not() -> None:
    def used(tokens: int, cost: float) -> dict[str, Any]:
        return {
            "inputTokens": tokens,
            "costUSD": cost,
            "contextWindow": 200_000,
            "maxOutputTokens": 64_000,
            "provider": "firstParty",
        }

    ledger = Ledger()
    ledger.absorb(result(model_usage={"opus": used(10, 0.5), "haiku": used(1, 0.125)}))
    ledger.process_ended()
    whole = ledger.whole(result(model_usage={"opus": used(20, 0.25)}))

    assert whole.model_usage == {"opus": used(30, 0.75), "haiku": used(1, 0.125)}


def test_what_the_cli_does_not_say_stays_unsaid() -> None:
    ledger = Ledger()
    ledger.absorb(result())
    ledger.process_ended()
    whole = ledger.whole(result())

    assert (whole.usage, whole.total_cost_usd, whole.model_usage) == (None, None, None)
    assert whole.num_turns == 6


@pytest.mark.parametrize("silent", ["the first", "the last"])
def test_a_part_without_usage_takes_nothing_from_the_other(silent: str) -> None:
    said = result(usage={"input_tokens": 5}, model_usage={"opus": {"inputTokens": 5}})
    parts = [result(), said] if silent == "the first" else [said, result()]
    ledger = Ledger()
    ledger.absorb(parts[0])
    ledger.process_ended()
    whole = ledger.whole(parts[1])

    assert whole.usage == {"input_tokens": 5}
    assert whole.model_usage == {"opus": {"inputTokens": 5}}


def test_the_sdks_own_values_are_not_changed() -> None:
    part = result(usage={"nested": {"tokens": 1}}, model_usage={"opus": {"inputTokens": 1}})
    last = result(usage={"nested": {"tokens": 2}}, model_usage={"opus": {"inputTokens": 2}})
    before = replace(part), replace(last)
    ledger = Ledger()
    ledger.absorb(part)
    ledger.process_ended()
    ledger.whole(last)

    assert (part, last) == before
    assert part.usage == {"nested": {"tokens": 1}}
    assert last.usage == {"nested": {"tokens": 2}}
