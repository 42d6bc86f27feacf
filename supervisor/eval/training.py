"""Learns the risk of failure from runs whose outcome is known, and measures what it is worth.

Logistic regression of few features on runs of several sets. Sets differ in length, in
how much their agents write and in how often they fail; a model that may tell them apart
learns which set it looks at. So features are centred by set, and each set and outcome
weighs the same; the way back to a share that fails is Platt's scaling on held-out scores.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from supervisor.core.entry import Entry
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.errors import TranscriptError
from supervisor.eval.stats import folds
from supervisor.eval.stream import judged_entries
from supervisor.eval.trace import Outcome, Trace
from supervisor.eval.truth import CLASSES
from supervisor.runtime.judge import Judge
from supervisor.runtime.risk import FEATURES, SCHEMA, RiskModel, Weight, sharpened

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    _Floats = NDArray[np.float64]

__all__ = [
    "EARLY",
    "SEED",
    "Found",
    "HeldOut",
    "Observed",
    "Scored",
    "Sharpening",
    "fitted",
    "held_out",
    "observe",
    "require_enough",
    "scored",
    "sharpening",
    "usable",
]

SEED = 0
PARTS = 5
"""Of the cross-validation; a task's runs are in one."""
EARLY = 32
"""Entries after which a run is looked at a first time, to see what is known by then."""
_C = 0.1
"""The inverse of the penalty on weights: few runs, so a strong one."""
_PLATT_C = 100.0
"""Hardly any penalty, but one: scores that tell all failures would have no finite slope."""
_FLAT = 1e-9
"""A feature that varies less, within sets, is the same for all."""
_FLATTER = (1.0, 0.5, 0.2, 0.1)
"""By how much the slope within sets may be flattened for runs of any set."""
_SHARES = (0.25, 0.5, 1.0)
"""By how much of the risk's log odds confidences may move; the smallest that helps best."""
_LEAST = 30
"""Findings of a mode, right and wrong ones, below which no share is looked for."""
_SURE = 1.0
"""Standard errors by which held-out confidences have to get better."""

_Values = tuple[float, ...]


class Found(NamedTuple):
    """A finding of which it is known whether it is right."""

    mode: FailureMode
    confidence: float
    right: bool
    values: _Values
    """What the run looked like when it was found."""


class Observed(NamedTuple):
    """One run as the model sees it."""

    stratum: str
    """Its set: the part of its id before the last slash, or its file."""
    group: str
    failed: bool | None
    healthy: bool
    end: _Values
    early: _Values
    found: tuple[Found, ...]


def observe(trace: Trace, judge: Judge) -> Observed | None:
    """Stream one trace; None where nothing stands in it."""
    first: Entry | None = None
    entries = 0
    early: _Values | None = None
    best: dict[tuple[str, str], Found] = {}
    for judged in judged_entries(trace, judge):
        first = first or next(iter(judged.entries), None)
        entries += len(judged.entries)
        for verdict in judged.verdicts:
            _keep(best, verdict, trace, judge)
        if early is None and entries >= EARLY:
            early = _values(judge, first)
    if first is None:
        return None
    end = _values(judge, first)
    return Observed(
        stratum=trace.id.rpartition("/")[0] or trace.dataset,
        group=trace.group,
        failed=None if trace.outcome is None else trace.outcome is Outcome.FAILURE,
        healthy=trace.healthy,
        end=end,
        early=early or end,
        found=tuple(best.values()),
    )


def _values(judge: Judge, entry: Entry | None) -> _Values:
    signs = judge.signs(entry.transcript, entry.agent_id) if entry is not None else None
    assert signs is not None
    return signs.values()


def _keep(best: dict[tuple[str, str], Found], verdict: Verdict, trace: Trace, judge: Judge) -> None:
    right = _is_right(verdict, trace)
    signs = judge.signs(verdict.transcript, verdict.agent_id)
    key = (verdict.detector, verdict.key)
    if right is None or signs is None:
        return
    if key not in best or best[key].confidence < verdict.confidence:
        best[key] = Found(verdict.failure_mode, verdict.confidence, right, signs.values())


def _is_right(verdict: Verdict, trace: Trace) -> bool | None:
    looked = [name for name in trace.known if verdict.failure_mode in CLASSES[name]]
    if looked:
        return any(trace.holds(name) for name in looked)
    return False if trace.healthy else None


class _Weighing(NamedTuple):
    """Weights before they are made shares that fail."""

    low: _Floats
    high: _Floats
    middle: _Floats
    slopes: _Floats
    """For each unit of a feature, none below 0."""

    def score(self, values: Iterable[float]) -> float:
        """Higher where failure is likelier."""
        import numpy as np

        seen = np.clip(np.array(tuple(values)), self.low, self.high)
        return float((seen - self.middle) @ self.slopes)


class Scored(NamedTuple):
    """A run with what a model that never saw its task says of it."""

    run: Observed
    risk: float
    early: float
    part: int
    """Whose risks one model told, so that they compare."""


def usable(runs: Sequence[Observed]) -> list[Observed]:
    """The runs of sets that hold both outcomes: any other teaches only which set it is."""
    kinds = Counter((run.stratum, run.failed) for run in runs)
    kept = [run for run in runs if run.failed is not None]
    return [run for run in kept if kinds[run.stratum, not run.failed]]


def require_enough(runs: Sequence[Observed]) -> None:
    """Raise `TranscriptError` where there is too little to learn from."""
    kept = usable(runs)
    tasks = {
        failed: {run.group for run in kept if run.failed is failed} for failed in (True, False)
    }
    if min(map(len, tasks.values())) < PARTS:
        raise TranscriptError(
            f"too little to learn from: in sets that hold both, runs of {len(tasks[True])} tasks "
            f"failed and of {len(tasks[False])} succeeded, and {PARTS} of each are needed. Label "
            "runs `success` or `failure`, as docs/detection.md shows"
        )


def _fit(runs: Sequence[Observed]) -> _Weighing:
    """The weights, features with a negative one left out: a sign can only raise a risk."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression  # type: ignore[import-untyped]  # it has no types

    values = np.array([run.end for run in runs], dtype=np.float64)
    weights = _weights(runs)
    failed = np.array([bool(run.failed) for run in runs])
    centred = values - _middles(runs, values, weights)
    spread = np.sqrt(np.average(centred**2, axis=0, weights=weights))
    kept = [
        place
        for place in range(len(FEATURES))
        if spread[place] > _FLAT and 0 < failed.sum() < len(failed)
    ]
    slopes = np.zeros(len(FEATURES))
    while kept:
        model = LogisticRegression(C=_C).fit(
            centred[:, kept] / spread[kept], failed, sample_weight=weights
        )
        found = model.coef_[0]
        if found.min() >= 0:
            slopes[kept] = found / spread[kept]
            break
        del kept[int(found.argmin())]
    middle = np.average(values, axis=0, weights=weights)
    return _Weighing(values.min(axis=0), values.max(axis=0), middle, slopes)


def _weights(runs: Sequence[Observed]) -> _Floats:
    """Each set and outcome the same in sum, one on average."""
    import numpy as np

    kinds = Counter((run.stratum, run.failed) for run in runs)
    weights = np.array([1 / kinds[run.stratum, run.failed] for run in runs])
    return np.asarray(weights * len(runs) / weights.sum())


def _middles(runs: Sequence[Observed], values: _Floats, weights: _Floats) -> _Floats:
    """For each run, the mean of its set."""
    import numpy as np

    strata = np.array([run.stratum for run in runs])
    middles = np.zeros_like(values)
    for name in set(strata):
        inside = strata == name
        middles[inside] = np.average(values[inside], axis=0, weights=weights[inside])
    return middles


def _platt(runs: Sequence[Observed], scores: Sequence[float]) -> tuple[float, float]:
    """Slope (never below 0) and intercept from scores to log odds. J. Platt, in Advances in
    Large Margin Classifiers (1999). The slope is that within sets, flattened as far as makes
    it right for all sets together: nobody knows beforehand which set a run is like. The
    intercept makes the mean risk the share that failed."""
    import numpy as np
    from sklearn.linear_model import LogisticRegression

    values, weights = np.array(scores).reshape(-1, 1), _weights(runs)
    failed = np.array([bool(run.failed) for run in runs])
    centred = values - _middles(runs, values, weights)
    model = LogisticRegression(C=_PLATT_C).fit(centred, failed, sample_weight=weights)
    slopes = [flatter * max(0.0, float(model.coef_[0][0])) for flatter in _FLATTER]
    share = float(failed.mean())
    curves = [(slope, _intercept(slope * values, share)) for slope in slopes]
    return min(curves, key=lambda curve: _loss(curve[1] + curve[0] * values[:, 0], failed))


def _loss(odds: _Floats, failed: NDArray[np.bool_]) -> float:
    """The mean of the negative log likelihood."""
    import numpy as np

    return float(np.mean(np.logaddexp(0, np.where(failed, -odds, odds))))


def _intercept(odds: _Floats, share: float) -> float:
    """What makes the mean of the risks `share`; by bisection, as the mean only rises."""
    import numpy as np

    low, high = -50.0, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        below = float(np.mean(np.exp(-np.logaddexp(0, -odds - middle)))) < share
        low, high = (middle, high) if below else (low, middle)
    return (low + high) / 2


def fitted(runs: Sequence[Observed]) -> RiskModel:
    """The model of these runs, without sharpening."""
    import numpy as np

    kept = usable(runs)
    unseen: dict[int, float] = {}
    for part, rest in _parts(kept):
        other = _fit(rest)
        unseen.update({id(run): other.score(run.end) for run in part})
    slope, intercept = _platt(kept, [unseen[id(run)] for run in kept])
    return _model(_fit(kept), slope, intercept, float(np.mean([bool(run.failed) for run in kept])))


def _model(fit: _Weighing, slope: float, intercept: float, base: float) -> RiskModel:
    weights = {
        name: Weight(
            weight=round(float(slope * fit.slopes[place]), 4),
            low=round(float(fit.low[place]), 4),
            high=round(float(fit.high[place]), 4),
        )
        for place, name in enumerate(FEATURES)
        if fit.slopes[place] > 0
    }
    moved = intercept - slope * float(fit.middle @ fit.slopes)
    return RiskModel(schema=SCHEMA, intercept=round(moved, 4), weights=weights, base=round(base, 4))


def _parts(runs: Sequence[Observed]) -> list[tuple[list[Observed], list[Observed]]]:
    """Each part of the tasks, and the rest. Seeded."""
    split = folds(runs, lambda run: run.group, PARTS, SEED)
    return [
        (part, [run for other in split if other is not part for run in other]) for part in split
    ]


HeldOut = list[tuple[list[Observed], RiskModel]]


def held_out(runs: Sequence[Observed]) -> HeldOut:
    """Every run, with a model trained without its task: calibration included."""
    return [(part, fitted(rest)) for part, rest in _parts(runs)]


def scored(models: HeldOut) -> list[Scored]:
    """What those models say of the runs that can be learned from."""
    wanted = {id(run) for run in usable([run for part, _ in models for run in part])}
    return [
        Scored(run, model.risk(run.end), model.risk(run.early), number)
        for number, (part, model) in enumerate(models)
        for run in part
        if id(run) in wanted
    ]


class Sharpening(NamedTuple):
    """Whether a risk makes a mode's confidences better, on held-out findings."""

    mode: FailureMode
    findings: int
    right: int
    auc: float | None
    """How well the risk tells right from wrong ones; 0.5 is not at all."""
    brier: float
    """Of the stated confidences."""
    sharpened: float
    """Of the sharpened ones."""
    share: float
    """What is kept; 0 where it did not help."""


def sharpening(models: HeldOut) -> list[Sharpening]:
    """By mode, over findings that are known to be right or wrong."""
    told: dict[FailureMode, list[list[tuple[Found, float, float]]]] = {}
    for number, (part, model) in enumerate(models):
        for run in part:
            for one in run.found:
                split = told.setdefault(one.mode, [[] for _ in range(PARTS)])
                split[number].append((one, model.risk(one.values), model.base))
    return [_sharpening(mode, split) for mode, split in sorted(told.items())]


def _sharpening(
    mode: FailureMode, split: Sequence[Sequence[tuple[Found, float, float]]]
) -> Sharpening:
    import numpy as np
    from sklearn.metrics import roc_auc_score  # type: ignore[import-untyped]  # it has no types

    everything = [one for part in split for one in part]
    right = [found.right for found, _, _ in everything]
    both = 0 < sum(right) < len(right)
    enough = both and len(right) >= _LEAST
    before = [_error(one, 0.0) for one in everything]
    after: list[float] = []
    for part in split:
        rest = [one for other in split if other is not part for one in other]
        share = _best_share(rest) if enough else 0.0
        after += [_error(one, share) for one in part]
    gain = np.array(before) - np.array(after)
    helps = gain.mean() > _SURE * gain.std() / np.sqrt(len(gain)) and gain.mean() > 0
    return Sharpening(
        mode=mode,
        findings=len(right),
        right=sum(right),
        auc=float(roc_auc_score(right, [risk for _, risk, _ in everything])) if both else None,
        brier=float(np.mean(before)),
        sharpened=float(np.mean(after)),
        share=_best_share(everything) if helps else 0.0,
    )


def _best_share(findings: Sequence[tuple[Found, float, float]]) -> float:
    def loss(share: float) -> float:
        return sum(_error(one, share) for one in findings)

    return min((0.0, *_SHARES), key=loss)


def _error(one: tuple[Found, float, float], share: float) -> float:
    found, risk, base = one
    confidence = found.confidence
    if share and 0 < confidence < 1:
        confidence = sharpened(confidence, share, risk, base)
    return (confidence - found.right) ** 2
