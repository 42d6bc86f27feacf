"""How likely a run fails: one figure, kept up entry by entry, from a model that ships as numbers.

`Signs` counts in a transcript what runs that failed had more of; `RiskModel` weighs it.
A risk is no finding: nothing is decided by it. It stands in each verdict for whoever
reads it, and may sharpen the verdict's confidence where the policy asks for that and the
model was seen to be better so. What it was learned from, and how little or much it is
worth, docs/risk.md tells; `lucid train` writes both.
"""

from __future__ import annotations

import logging
from array import array
from collections.abc import Sequence
from functools import cache
from math import exp, log, log1p
from pathlib import Path
from zlib import crc32

import msgspec

from supervisor.core.entry import Entry, Text, ToolResult
from supervisor.core.verdict import FailureMode, Verdict

__all__ = [
    "FEATURES",
    "FURTHEST",
    "SCHEMA",
    "SHIPPED",
    "RiskModel",
    "Signs",
    "Weight",
    "sharpened",
    "shipped_model",
]

_log = logging.getLogger(__name__)

SHIPPED = Path(__file__).with_name("risk_model.json")
"""The model in the wheel."""
SCHEMA = 1
"""Rises when a feature's meaning changes: numbers learned for another one are refused."""

FEATURES = ("written", "errors", "standstill", "surest")
"""What `Signs.values` yields, in its order. docs/risk.md says what each is."""

_SLOTS = 64
"""Fingerprints remembered of results, the newest of each slot."""
_COMPARED = 400
"""Characters by which a result is known again, besides its length."""
_PRIOR = 3
"""Results of no kind that a share begins with, so that the first error is not a share of 1."""
_SUREST = 20.0
"""Log odds beyond which a risk is not told from 0 or 1, so that it stays between them."""
FURTHEST = 1.0
"""How far, in log odds, a risk moves a confidence at the most: 0.5 becomes 0.73, so that
what is below 0.6 stays below 0.8, where the shipped policies begin to act."""


class Signs:
    """What one agent's transcript shows, by constant work for an entry and in under 2 KB."""

    __slots__ = (
        "_errors",
        "_longest_standstill",
        "_results",
        "_seen",
        "_standstill",
        "_surest",
        "_written",
    )

    def __init__(self) -> None:
        self._written = self._results = self._errors = 0
        self._standstill = self._longest_standstill = 0
        self._surest = 0.0
        self._seen = array("I", bytes(4 * _SLOTS))

    def observe(self, entry: Entry) -> None:
        """Take the next entry."""
        if isinstance(entry, ToolResult):
            self._take(entry)
        elif isinstance(entry, Text):
            self._written += len(entry.text)

    def found(self, verdict: Verdict) -> None:
        """Take what a detector found at an entry. What the time brought is not taken: a
        replay does not tell the time."""
        self._surest = max(self._surest, verdict.confidence)

    def values(self) -> tuple[float, ...]:
        """The `FEATURES` so far."""
        return (
            log1p(self._written),
            self._errors / (self._results + _PRIOR),
            log1p(self._longest_standstill),
            self._surest,
        )

    def _take(self, result: ToolResult) -> None:
        self._results += 1
        self._errors += result.is_error
        if self._is_known(result.text) or result.is_error:
            self._standstill += 1
            self._longest_standstill = max(self._longest_standstill, self._standstill)
        else:
            self._standstill = 0

    def _is_known(self, text: str) -> bool:
        mark = crc32(text[:_COMPARED].encode(errors="replace"), len(text) & 0xFFFFFFFF)
        slot = mark % _SLOTS
        known = self._seen[slot] == mark
        self._seen[slot] = mark
        return known


class Weight(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one feature adds to the log odds of failure."""

    weight: float
    """For each unit; never below 0."""
    low: float
    """What is less counts as this much: the model was taught nothing of it."""
    high: float
    """What is more counts as this much."""


class RiskModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A logistic model of failure, as `lucid train` writes it."""

    schema: int
    intercept: float
    weights: dict[str, Weight]
    base: float
    """The risk of a run of which nothing is known: a risk sharpens where it differs."""
    sharpening: dict[FailureMode, float] = {}
    """By mode, the share of the risk's log odds that moves a confidence. Modes for which
    it did not help on held-out traces are not listed."""

    def risk(self, values: Sequence[float]) -> float:
        """The share of such runs that fail, 0..1; `values` as `Signs.values` has them."""
        odds = self.intercept
        for name, value in zip(FEATURES, values, strict=True):
            if (one := self.weights.get(name)) is not None:
                odds += one.weight * min(max(value, one.low), one.high)
        return 1 / (1 + exp(-max(-_SUREST, min(_SUREST, odds))))

    def weighed(self, verdict: Verdict, risk: float, *, sharpen: bool) -> Verdict:
        """The verdict as found in a run of this risk; surer in a riskier one where it is
        to `sharpen`, by `FURTHEST` at the most. Certainty stays what it is."""
        confidence = verdict.confidence
        share = self.sharpening.get(verdict.failure_mode, 0.0) if sharpen else 0.0
        if share and 0 < confidence < 1:
            confidence = sharpened(confidence, share, risk, self.base)
        return msgspec.structs.replace(verdict, risk=round(risk, 3), confidence=confidence)


def sharpened(confidence: float, share: float, risk: float, base: float) -> float:
    """`confidence` (not 0 or 1), moved by a share of the log odds between `base` and `risk`.

    >>> round(sharpened(0.5, 1, risk=0.99, base=0.3), 2)
    0.73
    """
    moved = share * (_log_odds(risk) - _log_odds(base))
    moved = max(-FURTHEST, min(FURTHEST, moved))
    return round(1 / (1 + exp(-_log_odds(confidence) - moved)), 4)


def _log_odds(share: float) -> float:
    return log(share / (1 - share))


def _read(path: Path) -> RiskModel:
    """Raises `ValueError` where it is none of this version's."""
    model = msgspec.json.decode(path.read_bytes(), type=RiskModel)
    if model.schema != SCHEMA or not set(model.weights) <= set(FEATURES):
        raise ValueError(f"it has schema {model.schema} and weighs {', '.join(model.weights)}")
    return model


@cache
def shipped_model() -> RiskModel | None:
    """The model in the wheel; None, and loud once, where it cannot be read: no agent needs it."""
    try:
        return _read(SHIPPED)
    except (OSError, ValueError, msgspec.MsgspecError) as error:
        _log.error("sessions have no risk: %s is not this version's: %s", SHIPPED, error)
        return None
