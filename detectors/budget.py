"""Budgets: more calls, tokens, money or time than a policy allows.

Off until a policy names a limit, for the whole session, for each turn, or both:

```yaml
detectors:
  budget:
    session: {calls: 500, tokens: 20000000, cost_usd: 5, time: 2h}
    turn: {calls: 150, time: 30m}
    prices:                        # USD for a million tokens, by the model's name or its start
      claude-opus: {input: 5, output: 25, cache_read: 0.5, cache_write: 6.25}
```

It fires when a limit is passed, and again at each further tenth of it, so that a ladder goes
on where a hint did not help; for calls not before five more, in which the agent can end. The
rules for `overrun` decide what is done.

- *calls*: tool calls.
- *tokens*: read and written. What comes from the cache counts too, each time it is read.
- *cost_usd*: tokens at `prices`. Of several names that fit a model the longest counts. A
  model without a price counts at the highest one given, so that none is free.
- *time*: the agent's own: from a prompt to the end of its turn, not while it waits for one.

A turn here begins with what the user asks (for a subagent, its instructions); prompts of
Lucid's own belong to it, so that being corrected earns no second budget.

It does not catch what a subagent spends in its parent's budget: each agent has one of its
own. Nor does it count what a rollback has left behind, where the session goes on in a fork.
For what a session may spend in all, agents and forks together, there are the policy's `limits`.
A transcript without usage has no tokens, and one without times takes none but silence.

Confidence is 1: it counts, and does not guess. Token counts are the transcript's, which
are the service's own; a message cut off midway counts as far as it was told.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from detectors._verdicts import Place, place_of, verdict
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.duration import Duration, duration_text
from supervisor.core.entry import Entry, Origin, Prompt, Text, Thinking, ToolCall, Usage
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["Allowance", "Budget", "BudgetConfig", "Price"]

_AGAIN = 0.1
"""Share of a limit after which it is told again."""
_ROOM = 5.0
"""Calls that an agent which was told of a limit has to bring its work to an end."""
_MILLION = 1_000_000

_BEGINS_TURN = frozenset({Origin.USER, Origin.AGENT})
_OPENS = frozenset({Origin.USER, Origin.AGENT, Origin.LUCID, Origin.TASK})
_AFTER_IDLING = frozenset({Origin.USER, Origin.LUCID})
"""Whoever puts such a prompt may have taken any time to do so."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Allowance(_Part):
    """What an agent may take; what is left out is not limited."""

    calls: int | None = Field(None, ge=1)
    """Tool calls."""
    tokens: int | None = Field(None, ge=1)
    """Tokens read and written."""
    cost_usd: float | None = Field(None, gt=0)
    """US dollars, by `prices`."""
    time: Duration | None = None
    """Time at work."""


class Price(_Part):
    """US dollars for a million tokens."""

    input: float = Field(ge=0)
    """What the model reads afresh."""
    output: float = Field(ge=0)
    """What it writes."""
    cache_read: float | None = Field(None, ge=0)
    """As `input` if left out."""
    cache_write: float | None = Field(None, ge=0)
    """As `input` if left out."""

    def of(self, usage: Usage) -> float:
        """What such a model call costs, in US dollars."""
        read = self.input if self.cache_read is None else self.cache_read
        write = self.input if self.cache_write is None else self.cache_write
        return (
            usage.input_tokens * self.input
            + usage.output_tokens * self.output
            + usage.cache_read_tokens * read
            + usage.cache_write_tokens * write
        ) / _MILLION


class BudgetConfig(DetectorConfig):
    """What an agent may take."""

    session: Allowance = Allowance()
    """For the whole session, one agent of it at a time."""
    turn: Allowance = Allowance()
    """From one prompt of the user's to the next."""
    prices: Mapping[str, Price] = {}
    """By the beginning of the model's name; needed for `cost_usd`. Prices change, so none
    are built in."""

    @model_validator(mode="after")
    def _can_tell_the_cost(self) -> Self:
        limits = (self.session.cost_usd, self.turn.cost_usd)
        if not self.prices and any(limit is not None for limit in limits):
            raise ValueError("a limit on cost_usd needs prices")
        return self


class _Limit(NamedTuple):
    per: str
    what: str
    most: float

    @property
    def key(self) -> str:
        return f"{self.what} a {self.per}"

    def said(self, amount: float) -> str:
        if self.what == "time":
            return duration_text(timedelta(seconds=int(amount)))
        if self.what == "cost_usd":
            return f"${amount:.2f}"
        return f"{amount:,.0f} {self.what}"


def _nothing() -> dict[str, float]:
    return dict.fromkeys(Allowance.model_fields, 0.0)


def _limits(config: BudgetConfig) -> list[_Limit]:
    found = []
    for per, allowance in (("session", config.session), ("turn", config.turn)):
        for what, most in allowance:
            if most is not None:
                seconds = most.total_seconds() if isinstance(most, timedelta) else most
                found.append(_Limit(per, what, seconds))
    return found


class Budget(Detector):
    """Counts what an agent takes against what a policy allows."""

    name = "budget"
    failure_mode = FailureMode.OVERRUN
    Config = BudgetConfig
    config: BudgetConfig

    def __init__(self, config: BudgetConfig | None = None) -> None:
        super().__init__(config)
        self._limits = _limits(self.config)
        self._spent = {"session": _nothing(), "turn": _nothing()}
        self._tell_at: dict[str, float] = {}
        self._told_at: dict[str, int] = {}
        self._message_id: str | None = None
        self._counted = (0, 0.0)
        """Tokens and cost of the message so far: each of its blocks has its usage."""
        self._working = False
        self._last: datetime | None = None
        self._silent_since: datetime | None = None
        self._place: Place | None = None

    @property
    def idle(self) -> bool:
        """Without a limit, it counts for nobody."""
        return not self._limits

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Count the entry in, in constant time."""
        if not self._limits:
            return ()
        self._place = place_of(entry)
        self._clock(entry)
        if isinstance(entry, Prompt):
            self._prompt(entry)
        elif isinstance(entry, Text | Thinking | ToolCall):
            self._output(entry)
        return self._overruns(self._place)

    def tick(self, now: datetime) -> Iterable[Verdict]:
        """Count silence in, from the first tick after the last entry: an old transcript that
        is resumed was not at work all the while."""
        if self._place is None or not self._working:
            return ()
        if self._silent_since is None:
            self._silent_since = now
        return self._overruns(self._place, (now - self._silent_since).total_seconds())

    def _clock(self, entry: Entry) -> None:
        idled = isinstance(entry, Prompt) and entry.origin in _AFTER_IDLING
        if entry.at is not None and self._last is not None and self._working and not idled:
            self._add("time", max(0.0, (entry.at - self._last).total_seconds()))
        self._last = entry.at or self._last
        self._silent_since = None

    def _prompt(self, prompt: Prompt) -> None:
        self._working = self._working or prompt.origin in _OPENS
        if prompt.origin not in _BEGINS_TURN:
            return
        self._spent["turn"] = _nothing()
        for limit in self._limits:
            if limit.per == "turn":
                self._tell_at.pop(limit.key, None)

    def _output(self, entry: Text | Thinking | ToolCall) -> None:
        self._working = not isinstance(entry, Text) or entry.stop_reason != "end_turn"
        if isinstance(entry, ToolCall):
            self._add("calls", 1)
        if entry.usage is None:
            return
        if entry.message_id is None or entry.message_id != self._message_id:
            self._message_id, self._counted = entry.message_id, (0, 0.0)
        tokens = entry.usage.context_tokens + entry.usage.output_tokens
        cost = self._cost(entry.model or "", entry.usage)
        self._add("tokens", max(0, tokens - self._counted[0]))
        self._add("cost_usd", max(0.0, cost - self._counted[1]))
        self._counted = (max(tokens, self._counted[0]), max(cost, self._counted[1]))

    def _cost(self, model: str, usage: Usage) -> float:
        fitting = [name for name in self.config.prices if model.startswith(name)]
        if fitting:
            return self.config.prices[max(fitting, key=len)].of(usage)
        return max((price.of(usage) for price in self.config.prices.values()), default=0.0)

    def _add(self, what: str, amount: float) -> None:
        for spent in self._spent.values():
            spent[what] += amount

    def _overruns(self, place: Place, silent: float = 0.0) -> tuple[Verdict, ...]:
        found = []
        for limit in self._limits:
            spent = self._spent[limit.per][limit.what]
            if limit.what == "time":
                spent += silent
            if spent <= self._tell_at.get(limit.key, limit.most):
                continue
            if self._told_at.get(limit.key) == place.seq:
                continue  # told twice of one entry, it would be taken for the same verdict
            room = _ROOM if limit.what == "calls" else 0.0
            self._tell_at[limit.key] = spent + max(limit.most * _AGAIN, room)
            self._told_at[limit.key] = place.seq
            found.append(self._verdict(place, limit, spent))
        return tuple(found)

    def _verdict(self, place: Place, limit: _Limit, spent: float) -> Verdict:
        allowed, taken = limit.said(limit.most), limit.said(spent)
        return verdict(
            self,
            place,
            onset_seq=place.seq,
            confidence=1.0,
            summary=f"It has taken {taken}; {allowed} are allowed for a {limit.per}.",
            entries=(place.seq,),
            facts={"allowed": f"{allowed} for a {limit.per}", "taken": taken},
            key=limit.key,
        )
