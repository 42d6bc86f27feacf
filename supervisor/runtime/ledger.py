"""`Ledger`: one result for a turn that took several of the SDK's.

When an action ends the agent's turn and begins another, the caller sees one turn: its
final result holds the turns, tokens, time and cost of all parts.
"""

from __future__ import annotations

from dataclasses import replace
from functools import reduce
from typing import Any

from claude_agent_sdk import ResultMessage

__all__ = ["Ledger"]

Numbers = dict[str, Any]  # the SDK's own type for usage

_LIMITS = frozenset({"contextWindow", "maxOutputTokens"})
"""What a model can do stands beside what it has used."""


class Ledger:
    """What the parts of a turn have used so far."""

    def __init__(self) -> None:
        self._parts: list[ResultMessage] = []
        self._past_cost = 0.0
        self._past_models: Numbers = {}

    @property
    def turns(self) -> int:
        """Model calls of the parts absorbed since the caller's last result."""
        return sum(part.num_turns for part in self._parts)

    @property
    def cost_usd(self) -> float:
        """What the parts absorbed have cost, the former processes' among them."""
        running = self._parts[-1].total_cost_usd if self._parts else None
        return self._past_cost + (running or 0.0)

    def give_back(self, result: ResultMessage) -> None:
        """Show a part's result after all: no other part follows."""
        self._parts = [part for part in self._parts if part is not result]

    def absorb(self, result: ResultMessage) -> None:
        """Keep a part's figures instead of showing its result."""
        self._parts.append(result)

    def process_ended(self) -> None:
        """The work moves to a new process, whose running totals begin at nothing."""
        if not self._parts:
            return
        last = self._parts[-1]
        self._past_cost += last.total_cost_usd or 0.0
        self._past_models = _sum(self._past_models, last.model_usage or {})

    def whole(self, result: ResultMessage) -> ResultMessage:
        """The caller's result: `result` with all parts added. Cost and usage by model
        are running totals of a process; the other figures are a part's own."""
        parts, self._parts = [*self._parts, result], []
        usage = reduce(_sum, [part.usage or {} for part in parts])
        cost = result.total_cost_usd
        return replace(
            result,
            num_turns=sum(part.num_turns for part in parts),
            duration_ms=sum(part.duration_ms for part in parts),
            duration_api_ms=sum(part.duration_api_ms for part in parts),
            usage=usage or result.usage,
            total_cost_usd=cost if cost is None else cost + self._past_cost,
            model_usage=_sum(self._past_models, result.model_usage or {}) or result.model_usage,
        )


def _sum(one: Numbers, other: Numbers) -> Numbers:
    """Both, with numbers added and mappings merged; of anything else, the later."""
    total = {**one, **other}
    for key in one.keys() & other.keys():
        left, right = one[key], other[key]
        if isinstance(left, dict) and isinstance(right, dict):
            total[key] = _sum(left, right)
        elif key not in _LIMITS and _is_number(left) and _is_number(right):
            total[key] = left + right
    return total


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
