"""How detectors do on tasks that their thresholds were not chosen on.

Grouped cross-validation over each detector's own thresholds, moved one at a time from their
defaults: in every part of the traces, the setting is used that does best on all the others.
What is pooled is said by settings that never saw the task, or of loop cases the system, that
they are judged on. What a threshold cannot say, such as an expression or which kinds of
finding there are, was chosen with all traces in sight, and stays so.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from statistics import fmean

import msgspec

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.verdict import Verdict
from supervisor.eval.stats import Confusion, folds
from supervisor.eval.stream import judged_entries
from supervisor.eval.trace import Trace
from supervisor.eval.truth import answers, classes_of
from supervisor.policy.engine import matches
from supervisor.policy.model import Policy
from supervisor.policy.risk import RiskUse
from supervisor.runtime.judge import Judge

__all__ = [
    "CHOICES",
    "PARTS",
    "Chosen",
    "HeldOut",
    "Said",
    "Setting",
    "cross_validated",
    "settings_of",
]

PARTS = 5
_MOST_FALSE = 0.02
"""The share of healthy runs, and of healthy loop cases, beyond which a setting is none."""

CHOICES: Mapping[str, Mapping[str, tuple[float, ...]]] = {
    "loop": {
        "repeats": (2, 4, 5),
        "fruitless": (3, 4, 6, 7, 8),
        "reworded": (0.6, 0.75, 1.25, 1.5),
    },
    "hallucinated_tool": {
        "rejections": (3, 4),
        "misses": (2, 4),
        "look_ups": (1, 3, 4),
        "told_words": (1, 6, 12),
    },
    "drift": {"plan_steps": (1, 2, 4, 5), "told_words": (3, 6, 24)},
    "context_bloat": {"rereads": (2, 4, 5), "known_lines": (2, 3, 6)},
}
"""The thresholds that the figures may hang on, and what else each of them may be."""


class Setting(msgspec.Struct, frozen=True):
    """A detector's defaults, but for one threshold at the most."""

    detector: str
    threshold: str = ""
    value: float = 0.0

    def __str__(self) -> str:
        return f"{self.threshold} {self.value:g}" if self.threshold else "defaults"

    def config(self, kind: type[Detector]) -> DetectorConfig:
        """As a policy would have it."""
        return kind.Config.model_validate({self.threshold: self.value} if self.threshold else {})


def settings_of(detector: str) -> list[Setting]:
    """The defaults first: of settings that do equally well, the first is taken."""
    moved = (
        Setting(detector, threshold, value)
        for threshold, values in CHOICES[detector].items()
        for value in values
    )
    return [Setting(detector), *moved]


class Said(msgspec.Struct, frozen=True):
    """What one trace came to, under each setting."""

    trace: Trace
    classes: tuple[frozenset[str], ...]
    """For each setting, the classes that an intervention says it holds."""
    flagged: tuple[bool, ...]
    """For each setting, whether there is an intervention at all."""

    @property
    def group(self) -> str:
        """What it must not be divided from: the runs of its task, a system's cases."""
        return self.trace.case.peer if self.trace.case is not None else self.trace.group


class Chosen(msgspec.Struct, frozen=True):
    """One part of the traces, and the place of the setting that was chosen without it."""

    setting: int
    said: Sequence[Said]


class HeldOut:
    """One detector's, all parts together."""

    def __init__(self, kind: type[Detector], said: Sequence[Said]) -> None:
        self.settings = settings_of(kind.name)
        self._said = said
        self._classes = classes_of(kind.failure_mode)

    @cached_property
    def parts(self) -> list[Chosen]:
        """Each part with the setting that does best on the others."""
        divided = folds(self._said, lambda one: one.group, PARTS)
        chosen = []
        for number, part in enumerate(divided):
            others = [one for place, rest in enumerate(divided) if place != number for one in rest]
            chosen.append(Chosen(self._best(others), part))
        return chosen

    @property
    def choices(self) -> Counter[str]:
        """How many parts each setting was chosen for."""
        return Counter(str(self.settings[one.setting]) for one in self.parts)

    def confusions(self) -> Iterator[tuple[str, str, Confusion, Confusion]]:
        """Of each set and class: with the defaults, and held out."""
        for dataset in _by_set(self._said):
            for failure in self._classes:
                shipped = _confusion(failure, dataset, [Chosen(0, self._said)])
                if shipped.tp + shipped.fn:
                    yield dataset, failure, shipped, _confusion(failure, dataset, self.parts)

    def healthy(self) -> tuple[int, int, int]:
        """How many runs needed no help; how many of them are flagged, as shipped and held out."""
        shipped = _flagged([Chosen(0, self._said)])
        return len(shipped), sum(shipped), sum(_flagged(self.parts))

    def _best(self, said: Sequence[Said]) -> int:
        return max(range(len(self.settings)), key=lambda setting: self._worth(setting, said))

    def _worth(self, setting: int, said: Sequence[Said]) -> float:
        """The mean, over sets and classes, of the correlation, or of the share that is caught
        where nobody looked for others. Too many false alarms are worth nothing."""
        quiet = [one for one in said if one.trace.healthy or _is_quiet_case(one.trace)]
        if sum(one.flagged[setting] for one in quiet) > _MOST_FALSE * len(quiet):
            return -1.0
        values = []
        for one in _by_set(said).values():
            for failure in self._classes:
                counted = _counted(failure, setting, one)
                value = counted.mcc if counted.fp + counted.tn else counted.recall
                values += [value] if counted.tp + counted.fn and value is not None else []
        return fmean(values) if values else 0.0


def cross_validated(
    traces: Iterable[Trace], detectors: Mapping[str, type[Detector]], policy: Policy
) -> dict[str, HeldOut]:
    """Each detector of `CHOICES` on every trace, under every setting, judged by `policy`."""
    kinds = {name: kind for name, kind in detectors.items() if name in CHOICES}
    said: dict[str, list[Said]] = {name: [] for name in kinds}
    for trace in traces:
        read = tuple(trace.batches())
        kept = msgspec.structs.replace(trace, batches=lambda read=read: iter(read))
        for name, kind in kinds.items():
            said[name].append(_said(kept, kind, policy))
    return {name: HeldOut(kinds[name], found) for name, found in said.items()}


def _said(trace: Trace, kind: type[Detector], policy: Policy) -> Said:
    classes, flagged = [], []
    for setting in settings_of(kind.name):
        acted_on = list(_acted_on(trace, kind, setting.config(kind), policy))
        classes.append(frozenset(_classes_said(acted_on)))
        flagged.append(bool(acted_on))
    bare = msgspec.structs.replace(trace, batches=_nothing)
    return Said(bare, tuple(classes), tuple(flagged))


def _acted_on(
    trace: Trace, kind: type[Detector], config: DetectorConfig, policy: Policy
) -> Iterator[Verdict]:
    judge = Judge(trace.id, {kind.name: kind}, {kind.name: config}, RiskUse(enabled=False))
    for judged in judged_entries(trace, judge):
        for verdict in judged.verdicts:
            if any(matches(rule, verdict) for rule in policy.rules):
                yield verdict


def _classes_said(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        yield from (one for one in classes_of(verdict.failure_mode) if answers(one, verdict))


def _nothing() -> Iterator[tuple[()]]:
    return iter(())


def _flagged(parts: Iterable[Chosen]) -> list[bool]:
    """Of each healthy run, whether there is an intervention."""
    return [one.flagged[part.setting] for part in parts for one in part.said if one.trace.healthy]


def _is_quiet_case(trace: Trace) -> bool:
    return trace.case is not None and trace.case.ideal is False


def _by_set(said: Iterable[Said]) -> dict[str, list[Said]]:
    named: dict[str, list[Said]] = {}
    for one in said:
        named.setdefault(one.trace.dataset, []).append(one)
    return named


def _confusion(failure: str, dataset: str, parts: Iterable[Chosen]) -> Confusion:
    total = Confusion()
    for part in parts:
        inside = [one for one in part.said if one.trace.dataset == dataset]
        counted = _counted(failure, part.setting, inside)
        total = Confusion(*(a + b for a, b in zip(total, counted, strict=True)))
    return total


def _counted(failure: str, setting: int, said: Iterable[Said]) -> Confusion:
    counted = Confusion()
    for one in said:
        true = one.trace.holds(failure)
        if true is not None:
            counted = counted.add(said=failure in one.classes[setting], true=true)
    return counted
