"""What a learned risk is worth, as tables: told plainly, as it is little."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from supervisor.eval.stats import Confusion, calibration_error, reliability
from supervisor.eval.tables import Table, number
from supervisor.eval.training import EARLY, Observed, Scored, Sharpening
from supervisor.runtime.risk import RiskModel

__all__ = ["MARK", "risk_tables"]

MARK = "<!-- figures: written by lucid train, not by hand -->"
"""Where the figures of a page begin."""
_EDGES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)


def risk_tables(
    model: RiskModel,
    runs: Sequence[Observed],
    scores: Sequence[Scored],
    sharpenings: Sequence[Sharpening],
) -> Iterator[Table]:
    """The model, its held-out figures, and whether it makes confidences better."""
    yield _weights(model)
    yield _sets(scores)
    yield _reliability(scores)
    yield _levels(model, runs)
    yield _sharpening(sharpenings)


def _weights(model: RiskModel) -> Table:
    rows: list[tuple[str, ...]] = [
        (name, f"{one.weight:.4f}", f"{one.low:.2f} to {one.high:.2f}")
        for name, one in model.weights.items()
    ]
    return Table(
        title="The model",
        caption=f"Log odds of failure: {model.intercept:.4f} and, for each feature, its weight "
        f"times its value. Of the runs it learned from, {model.base:.0%} failed.",
        headings=("feature", "weight", "learned within"),
        words=1,
        rows=rows,
    )


def _sets(scores: Sequence[Scored]) -> Table:
    strata = sorted({one.run.stratum for one in scores})
    return Table(
        title="Telling failed runs from others",
        caption="Each run by a model that saw no run of its task: 5 parts, grouped by task. AUC: "
        "how often a failed run has a higher risk than another of its set and part, 0.5 being "
        f"chance; early: after {EARLY} entries. MCC: of the risks above the median of their set "
        "and part. Brier: mean squared error; beside it, that of always saying the set's own "
        "share, which no model knows beforehand.",
        headings=("set", "runs", "failed", "AUC", "early", "MCC", "Brier", "of the share"),
        words=1,
        rows=[_set(name, [one for one in scores if one.run.stratum == name]) for name in strata],
    )


def _set(name: str, inside: Sequence[Scored]) -> tuple[str, ...]:
    failed = sum(one.run.failed is True for one in inside)
    share = failed / len(inside)
    brier = sum((one.risk - (one.run.failed is True)) ** 2 for one in inside) / len(inside)
    return (
        name,
        str(len(inside)),
        str(failed),
        number(_auc(inside, lambda one: one.risk)),
        number(_auc(inside, lambda one: one.early)),
        number(_confusion(inside).mcc),
        number(brier),
        number(share * (1 - share)),
    )


def _auc(inside: Sequence[Scored], risk: Callable[[Scored], float]) -> float | None:
    """Over pairs whose risks one model told; a tie is half a hit."""
    pairs = hits = 0.0
    for failed in inside:
        for other in inside:
            if failed.run.failed and not other.run.failed and failed.part == other.part:
                pairs += 1
                above, below = risk(failed), risk(other)
                hits += 0.5 if above == below else above > below
    return hits / pairs if pairs else None


def _confusion(inside: Sequence[Scored]) -> Confusion:
    counted = Confusion()
    for part in {one.part for one in inside}:
        same = [one for one in inside if one.part == part]
        middle = sorted(one.risk for one in same)[len(same) // 2]
        for one in same:
            counted = counted.add(said=one.risk >= middle, true=one.run.failed is True)
    return counted


def _reliability(scores: Sequence[Scored]) -> Table:
    bins = reliability([(one.risk, bool(one.run.failed)) for one in scores], _EDGES)
    rows: list[tuple[str, ...]] = [
        (
            f"{one.low:g} to {one.high:g}",
            number(one.mean),
            str(one.findings),
            str(one.right),
            number(one.share),
        )
        for one in bins
    ]
    return Table(
        title="What a risk is worth as a number",
        caption="All sets together, held out. Expected calibration error "
        f"{number(calibration_error(bins))}.",
        headings=("risk", "mean", "runs", "failed", "share"),
        words=1,
        rows=rows,
    )


def _levels(model: RiskModel, runs: Sequence[Observed]) -> Table:
    named: dict[str, list[float]] = {}
    for run in runs:
        if run.failed is not True and run.healthy:
            named.setdefault(run.stratum, []).append(model.risk(run.end))
    rows: list[tuple[str, ...]] = []
    for name, risks in sorted(named.items()):
        risks.sort()
        cuts = (risks[int(share * (len(risks) - 1))] for share in (0.1, 0.5, 0.9, 1.0))
        rows.append((name, str(len(risks)), *map(number, cuts)))
    return Table(
        title="In runs that went well",
        caption="The risk at the end, by the shipped model. Claude Code's transcripts took no "
        "part in the training.",
        headings=("set", "runs", "10 %", "median", "90 %", "highest"),
        words=1,
        rows=rows,
    )


def _sharpening(sharpenings: Sequence[Sharpening]) -> Table:
    return Table(
        title="Whether it sharpens confidences",
        caption="Findings that are known to be right or wrong. AUC: whether the risk is higher "
        "where they are right; below 0.5 it is higher where they are wrong. Brier: of the "
        "confidences as stated, and sharpened, held out. kept: the share of the risk's log "
        "odds that moves a confidence; 0 where that was no better by a standard error, or "
        "the findings are too few to tell.",
        headings=("mode", "findings", "right", "AUC", "Brier", "sharpened", "kept"),
        words=1,
        rows=[
            (
                str(one.mode),
                str(one.findings),
                str(one.right),
                number(one.auc),
                number(one.brier),
                number(one.sharpened),
                f"{one.share:g}",
            )
            for one in sharpenings
        ],
    )
