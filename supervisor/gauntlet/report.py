"""What the gauntlet came to: totals, tables, and whether the bar is met."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import groupby

from supervisor.eval.tables import Table
from supervisor.gauntlet.suite import Outcome
from supervisor.gauntlet.trial import Kind
from supervisor.gauntlet.ways import Run

__all__ = ["BAR", "MARK", "figures", "is_met", "is_wrong", "tables", "told"]

BAR = 0.95
"""Share of the recoverable scenarios that must be finished under supervision."""

MARK = "<!-- figures: written by lucid gauntlet, not by hand -->"
"""Where the tables begin in a page."""


def is_met(outcomes: Sequence[Outcome]) -> bool:
    """Whether enough recoverable scenarios were finished under supervision, no healthy one
    was interfered with, and none that nothing helps went on for ever."""
    recoverable = _of(outcomes, Kind.RECOVERABLE)
    finished = sum(one.supervised.finished for one in recoverable)
    return finished >= BAR * len(recoverable) and not any(map(is_wrong, outcomes))


def is_wrong(outcome: Outcome) -> bool:
    """Whether a supervisor did harm: it interfered with healthy work, kept it from its end,
    or never let go of what cannot be helped."""
    run = outcome.supervised
    if outcome.trial.kind is Kind.HEALTHY:
        return bool(run.actions) or not run.finished
    return outcome.trial.kind is Kind.UNRECOVERABLE and run.ended == "out of time"


def figures(outcomes: Sequence[Outcome]) -> dict[str, object]:
    """Everything, for machines."""
    return {
        "met": is_met(outcomes),
        "scenarios": [
            {
                "name": one.name,
                "title": one.trial.title,
                "kind": one.trial.kind,
                "mode": one.trial.mode,
                "policy": _policy(one),
                "runs": [asdict(run) for run in one.runs],
            }
            for one in outcomes
        ],
        "totals": {
            kind: {run[0].way: _total(run) for run in zip(*(o.runs for o in group), strict=True)}
            for kind, group in _groups(outcomes)
        },
    }


def told(outcome: Outcome) -> str:
    """One scenario in a line."""
    ways = "; ".join(f"{run.way} {_how(run)}" for run in outcome.runs)
    return f"{outcome.name}: {ways} ({_did(outcome.supervised)})"


def tables(outcomes: Sequence[Outcome]) -> Iterator[Table]:
    """Totals, then every scenario by kind."""
    yield _totals(outcomes)
    for kind, group in _groups(outcomes):
        yield _scenarios(kind, group)


def _totals(outcomes: Sequence[Outcome]) -> Table:
    rows: list[tuple[str, ...]] = []
    for kind, group in _groups(outcomes):
        for runs in zip(*(one.runs for one in group), strict=True):
            total = _total(runs)
            share = f"{100 * total['finished'] / total['scenarios']:.0f} %"
            total["tokens"] = round(total["tokens"] / 1000)
            rows.append((kind, runs[0].way, *map(str, total.values()), share))
    return Table(
        title="Totals",
        caption="finished: the task is done and the session ended by itself, without an error. "
        "repeated: side effects that had taken place before. k tokens: thousands, read and "
        "written, four characters being one. interventions: of healthy scenarios all are false.",
        headings=(
            "scenarios",
            "way",
            "number",
            "finished",
            "tool calls",
            "repeated",
            "k tokens",
            "interventions",
            "share finished",
        ),
        words=2,
        rows=rows,
    )


def _scenarios(kind: Kind, outcomes: Sequence[Outcome]) -> Table:
    return Table(
        title=f"{kind.capitalize()} scenarios",
        caption="Three figures are those alone, with blind retry, and supervised.",
        headings=(
            "scenario",
            "mode",
            "policy",
            "alone",
            "retry",
            "supervised",
            "what Lucid did",
            "tool calls",
            "repeated",
            "k tokens",
        ),
        words=7,
        rows=[_row(one) for one in outcomes],
    )


def _row(one: Outcome) -> tuple[str, ...]:
    return (
        f"{one.name}: {one.trial.title}",
        one.trial.mode,
        _policy(one),
        *map(_how, one.runs),
        _did(one.supervised),
        _three(run.calls for run in one.runs),
        _three(run.repeated for run in one.runs),
        _three(round(run.tokens / 1000) for run in one.runs),
    )


def _how(run: Run) -> str:
    if not run.finished:
        return f"no: {run.ended}"
    return "yes" if run.attempts == 1 else f"yes, attempt {run.attempts}"


def _did(run: Run) -> str:
    """The actions in order, those in a row together."""
    parts = ((name, len(list(group))) for name, group in groupby(run.actions))
    return ", ".join(name if count == 1 else f"{name} x{count}" for name, count in parts) or "-"


def _three(values: Iterable[int]) -> str:
    return " / ".join(map(str, values))


def _policy(one: Outcome) -> str:
    policy = one.trial.policy
    if isinstance(policy, str):
        return policy
    base = policy.get("include")
    return f"{base} and more" if isinstance(base, str) else "its own"


def _total(runs: Sequence[Run]) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for run in runs:
        counts["finished"] += run.finished
        counts["calls"] += run.calls
        counts["repeated"] += run.repeated
        counts["tokens"] += run.tokens
        counts["interventions"] += len(run.actions)
    names = ("finished", "calls", "repeated", "tokens", "interventions")
    return {"scenarios": len(runs), **{name: counts[name] for name in names}}


def _groups(outcomes: Sequence[Outcome]) -> Iterator[tuple[Kind, list[Outcome]]]:
    yield from ((kind, group) for kind in Kind if (group := _of(outcomes, kind)))


def _of(outcomes: Sequence[Outcome], kind: Kind) -> list[Outcome]:
    return [one for one in outcomes if one.trial.kind is kind]
