"""The statistics that an evaluation needs, each with its source."""

from __future__ import annotations

import random
from collections.abc import Callable, Hashable, Iterable, Sequence
from hashlib import sha256
from itertools import pairwise
from math import sqrt
from statistics import NormalDist
from typing import NamedTuple, TypeVar

__all__ = [
    "Bin",
    "Confusion",
    "Interval",
    "bootstrap",
    "calibration_error",
    "folds",
    "reliability",
    "wilson",
]

_Item = TypeVar("_Item")


class Interval(NamedTuple):
    """Between which values a figure lies, as far as the sample tells."""

    low: float
    high: float


class Confusion(NamedTuple):
    """How a yes or no compares with the truth, counted in traces."""

    tp: int = 0
    fp: int = 0
    fn: int = 0
    tn: int = 0

    def add(self, *, said: bool, true: bool) -> Confusion:
        """With one more trace."""
        return Confusion(
            self.tp + (said and true),
            self.fp + (said and not true),
            self.fn + (true and not said),
            self.tn + (not true and not said),
        )

    @property
    def traces(self) -> int:
        """All that were compared."""
        return sum(self)

    @property
    def precision(self) -> float | None:
        """The share of yeses that are right; None without a yes, or without any trace
        that a yes would be wrong for."""
        return _share(self.tp, self.tp + self.fp) if self.fp + self.tn else None

    @property
    def recall(self) -> float | None:
        """The share of what is there that was said."""
        return _share(self.tp, self.tp + self.fn)

    @property
    def f1(self) -> float | None:
        """The harmonic mean of both; None where there is no precision to mean."""
        return _share(2 * self.tp, 2 * self.tp + self.fp + self.fn) if self.fp + self.tn else None

    @property
    def mcc(self) -> float | None:
        """Matthews' correlation, -1..1; 0 for a constant answer, None where all traces are
        of one kind. B. W. Matthews, Biochimica et Biophysica Acta 405 (1975), 442-451.

        >>> round(Confusion(tp=6, fp=1, fn=2, tn=3).mcc, 3)
        0.478
        """
        if not self.tp + self.fn or not self.fp + self.tn:
            return None
        product = (self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp)
        margin = product * (self.tn + self.fn)
        return (self.tp * self.tn - self.fp * self.fn) / sqrt(margin) if margin else 0.0


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def wilson(hits: int, trials: int, confidence: float = 0.95) -> Interval:
    """The score interval of a share: fit for few trials and shares near 0, where the usual
    normal interval is too narrow. E. B. Wilson, J. Am. Stat. Assoc. 22 (1927), 209-212.

    >>> low, high = wilson(2, 100)
    >>> round(low, 3), round(high, 3)
    (0.006, 0.07)
    """
    if not trials:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    share, square = hits / trials, z * z / trials
    middle = (share + square / 2) / (1 + square)
    half = z * sqrt(share * (1 - share) / trials + square / (4 * trials)) / (1 + square)
    return Interval(max(0.0, middle - half), min(1.0, middle + half))


def bootstrap(
    items: Sequence[_Item],
    group: Callable[[_Item], Hashable],
    figure: Callable[[Sequence[_Item]], float | None],
    *,
    draws: int = 500,
    confidence: float = 0.95,
    seed: int = 0,
) -> Interval | None:
    """The percentile interval of a figure over whole groups drawn again and again, so that
    traces of one task stay together; None where too few draws yield the figure. Seeded.
    B. Efron and R. Tibshirani, An Introduction to the Bootstrap (1993), chapters 8 and 13.
    """
    groups: dict[Hashable, list[_Item]] = {}
    for item in items:
        groups.setdefault(group(item), []).append(item)
    members, chance = list(groups.values()), random.Random(seed)
    values: list[float] = []
    for _ in range(draws if members else 0):
        drawn = [item for one in chance.choices(members, k=len(members)) for item in one]
        value = figure(drawn)
        values += [value] if value is not None else []
    if len(values) < max(draws // 2, 1):
        return None
    values.sort()
    cut = (1 - confidence) / 2
    return Interval(values[int(cut * len(values))], values[int((1 - cut) * len(values)) - 1])


def folds(
    items: Sequence[_Item], group: Callable[[_Item], str], parts: int, seed: int = 0
) -> list[list[_Item]]:
    """`items` in `parts` of about as many groups each, no group in two of them: the split
    for cross-validation. The same on every machine.

    >>> folds(["a1", "a2", "b1"], lambda item: item[0], 2)
    [['a1', 'a2'], ['b1']]
    """
    names = sorted({group(item) for item in items}, key=lambda name: _drawn(name, seed))
    part = {name: place % parts for place, name in enumerate(names)}
    return [[item for item in items if part[group(item)] == number] for number in range(parts)]


def _drawn(name: str, seed: int) -> bytes:
    return sha256(f"{seed}\0{name}".encode(errors="surrogatepass")).digest()


class Bin(NamedTuple):
    """Findings of about the same confidence, and how many of them are right."""

    low: float
    high: float
    findings: int
    mean: float
    """The mean confidence of them."""
    right: int

    @property
    def share(self) -> float:
        """The share that is right."""
        return self.right / self.findings


def reliability(said: Iterable[tuple[float, bool]], edges: Sequence[float]) -> list[Bin]:
    """Pairs of a confidence and whether it was right, in bins between `edges`; each bin
    holds its lower edge, the last its upper one too. Empty bins are left out. A. Niculescu-Mizil
    and R. Caruana, ICML 2005.

    >>> reliability([(0.5, False), (0.9, True), (1.0, True)], [0.8, 1])
    [Bin(low=0.8, high=1, findings=2, mean=0.95, right=2)]
    """
    pairs = list(said)
    bins = []
    for low, high in pairwise(edges):
        last = high == edges[-1]
        inside = [pair for pair in pairs if low <= pair[0] < high or (last and pair[0] == high)]
        if inside:
            mean = sum(confidence for confidence, _ in inside) / len(inside)
            bins.append(Bin(low, high, len(inside), mean, sum(right for _, right in inside)))
    return bins


def calibration_error(bins: Sequence[Bin]) -> float | None:
    """How far confidences are from the shares that are right, weighted by bin: the expected
    calibration error of M. Naeini, G. Cooper and M. Hauskrecht, AAAI 2015."""
    total = sum(one.findings for one in bins)
    if not total:
        return None
    return sum(one.findings * abs(one.mean - one.share) for one in bins) / total
