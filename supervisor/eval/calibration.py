"""What a confidence should say: the share of such findings that are right, by kind.

For a detector's author: group the findings by what distinguishes them (a pattern, the
number of repetitions) and read off how often each kind was right. Constants in detectors
are set by `suggested`, which draws small samples towards one half.

>>> from supervisor.eval.calibration import strata
>>> strata(report, lambda verdict: str(verdict.evidence.facts.get("pattern")))  # doctest: +SKIP
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from supervisor.core.verdict import FailureMode, Verdict
from supervisor.eval.score import Report, truth
from supervisor.eval.stats import Interval, wilson

__all__ = ["Stratum", "by_kind", "findings", "strata"]


class Stratum(msgspec.Struct, frozen=True):
    """Findings of one kind, of which it is known whether they are right."""

    kind: str
    findings: int
    right: int
    stated: float
    """The mean confidence they were given."""

    @property
    def interval(self) -> Interval:
        """Of the share that is right (Wilson)."""
        return wilson(self.right, self.findings)

    @property
    def suggested(self) -> float:
        """The confidence to give them: Laplace's rule of succession, (right + 1) / (n + 2)."""
        return (self.right + 1) / (self.findings + 2)


def findings(report: Report, mode: FailureMode | None = None) -> Iterator[tuple[Verdict, bool]]:
    """The surest verdict of every finding, and whether it is right: whether its trace is
    labelled with the failure. Those of which that is not known are left out."""
    for run in report.runs:
        for finding in run.findings:
            if mode is None or finding.mode is mode:
                right = truth(run, finding.mode)
                if right is not None:
                    yield finding.best, right


def strata(
    report: Report, kind: Callable[[Verdict], str], mode: FailureMode | None = None
) -> list[Stratum]:
    """The findings by `kind`, in its order."""
    grouped: dict[str, list[tuple[float, bool]]] = {}
    for verdict, right in findings(report, mode):
        grouped.setdefault(kind(verdict), []).append((verdict.confidence, right))
    return [
        Stratum(
            name,
            len(said),
            sum(right for _, right in said),
            sum(confidence for confidence, _ in said) / len(said),
        )
        for name, said in sorted(grouped.items())
    ]


def by_kind(verdict: Verdict) -> str:
    """A detector's findings by their pattern, where it states one, and their confidence."""
    pattern = verdict.evidence.facts.get("pattern")
    about = f" {pattern}" if isinstance(pattern, str) else ""
    return f"{verdict.failure_mode} {verdict.detector}{about} at {verdict.confidence:.2f}"
