"""Runs to figures: how often each failure is caught, where, how late, and how often the
policy would intervene where nothing was wrong.

A class is *caught* in a trace where some finding of its modes leads to an intervention
under the policy, and only then. Pooled figures of a class take the data sets whose people
looked for it in the whole trace; a set that labels only where it is (MIRAGE) has recall
alone and is pooled only where no other set knows more. Loop cases are counted apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property

import msgspec

from supervisor.core.verdict import FailureMode
from supervisor.eval.stats import Confusion, Interval, bootstrap, wilson
from supervisor.eval.stream import Finding, Run
from supervisor.eval.trace import Label, Outcome
from supervisor.eval.truth import CLASSES, answers

__all__ = ["NEAR", "CaseFigures", "ClassFigures", "Healthy", "Places", "Report", "truth"]

NEAR = 3
"""Steps within which a place is near."""


class CaseFigures(msgspec.Struct, frozen=True):
    """Loop cases with an ideal label."""

    loops: int = 0
    caught: int = 0
    healthy: int = 0
    false: int = 0
    in_time: int = 0
    """Caught no later than the system that the case was taken from."""


class Healthy(msgspec.Struct, frozen=True):
    """Sessions that needed no intervention."""

    sessions: int
    flagged: int
    """Those in which the policy would intervene."""
    interventions: int
    """Failures it would intervene for, all sessions together."""

    @property
    def interval(self) -> Interval:
        """Of the flagged ones' share (Wilson)."""
        return wilson(self.flagged, self.sessions)


class Places(msgspec.Struct, frozen=True):
    """How the steps that findings point at compare with the labelled ones."""

    labels: int
    exact: int
    """Labels whose step, or one of whose occurrences, is pointed at."""
    near: int
    findings: int
    findings_exact: int
    findings_near: int

    @property
    def f1(self) -> tuple[float, float]:
        """Of exact and of near places: labels found, and findings that point at one."""
        total = self.labels + self.findings
        exact, near = self.exact + self.findings_exact, self.near + self.findings_near
        return (exact / total, near / total) if total else (0.0, 0.0)


class ClassFigures:
    """One labelled class over some runs."""

    def __init__(self, failure: str, runs: Sequence[Run]) -> None:
        """Of `runs`, only those count of which it is known whether they hold it."""
        self.failure = failure
        self.modes = CLASSES[failure]
        self.runs = [run for run in runs if run.trace.holds(failure) is not None]

    @property
    def exhaustive(self) -> bool:
        """Whether there are traces that are known not to hold it."""
        return any(run.trace.holds(self.failure) is False for run in self.runs)

    def findings(self, run: Run) -> list[Finding]:
        """Those that say the trace holds it."""
        return [one for one in run.findings if answers(self.failure, one.first)]

    def acting(self, run: Run) -> list[Finding]:
        """Those of them at which the policy would intervene, in the order of the entries."""
        return [one for one in run.acting(self.modes) if answers(self.failure, one.first)]

    def confidence(self, run: Run) -> float:
        """Their highest; 0 without any."""
        return max((one.confidence for one in self.findings(run)), default=0.0)

    def said(self, run: Run) -> bool:
        """Whether the policy would intervene for it."""
        return bool(self.acting(run))

    @cached_property
    def confusion(self) -> Confusion:
        """By trace."""
        return self._confusion(self.runs)

    @cached_property
    def mcc_interval(self) -> Interval | None:
        """Of the correlation, groups drawn anew."""
        return bootstrap(
            self.runs, lambda run: run.trace.group, lambda drawn: self._confusion(drawn).mcc
        )

    def _confusion(self, runs: Iterable[Run]) -> Confusion:
        counted = Confusion()
        for run in runs:
            true = run.trace.holds(self.failure) is True
            counted = counted.add(said=self.said(run), true=true)
        return counted

    @cached_property
    def curve(self) -> list[tuple[float, float, float]]:
        """Threshold, recall and precision for every threshold that changes something, from
        the highest confidence to the lowest."""
        scored = [
            (self.confidence(run), run.trace.holds(self.failure) is True) for run in self.runs
        ]
        positives = sum(true for _, true in scored)
        points = []
        for threshold in sorted(
            {confidence for confidence, _ in scored if confidence}, reverse=True
        ):
            hits = [true for confidence, true in scored if confidence >= threshold]
            if positives:
                points.append((threshold, sum(hits) / positives, sum(hits) / len(hits)))
        return points

    @cached_property
    def delays(self) -> list[int]:
        """Steps from the onset to the first intervention, of each caught trace whose onset
        is known; negative where it came before the labelled step."""
        found = []
        for run in self.runs:
            onset = _onset(self._labels(run))
            acting = self.acting(run)
            if onset is not None and acting and (verdict := acting[0].acting):
                found.append(run.trace.step_of(verdict.seq) - onset)
        return found

    @cached_property
    def places(self) -> Places:
        """Over the traces in which every label has a step."""
        counts = [0] * 6
        for run in self.runs:
            labels = self._labels(run)
            if all(label.step is not None for label in labels):
                for index, count in enumerate(_placed(labels, self.acting(run))):
                    counts[index] += count
        return Places(*counts)

    def _labels(self, run: Run) -> list[Label]:
        return [label for label in run.trace.labels if label.failure == self.failure]

    def misses(self) -> list[Run]:
        """Traces that hold it, and nothing would be done."""
        return [run for run in self.runs if run.trace.holds(self.failure) and not self.said(run)]

    def false(self) -> list[tuple[Run, Finding]]:
        """Interventions in traces that are known not to hold it, the surest first."""
        found = [
            (run, finding)
            for run in self.runs
            if run.trace.holds(self.failure) is False
            for finding in self.acting(run)
        ]
        return sorted(found, key=lambda one: -one[1].confidence)


def _onset(labels: Sequence[Label]) -> int | None:
    """The first needless step: the second run of a repeated call, else the label's."""
    steps = [label.occurrences[1] if len(label.occurrences) > 1 else label.step for label in labels]
    return min((step for step in steps if step is not None), default=None)


def _placed(labels: Sequence[Label], findings: Sequence[Finding]) -> tuple[int, ...]:
    targets = [
        {step for step in (label.step, *label.occurrences) if step is not None} for label in labels
    ]
    pointed = [finding.places() for finding in findings]
    return (
        len(targets),
        sum(any(_reach(target, places, 0) for places in pointed) for target in targets),
        sum(any(_reach(target, places, NEAR) for places in pointed) for target in targets),
        len(pointed),
        sum(any(_reach(target, places, 0) for target in targets) for places in pointed),
        sum(any(_reach(target, places, NEAR) for target in targets) for places in pointed),
    )


def _reach(one: Iterable[int], other: Iterable[int], distance: int) -> bool:
    others = tuple(other)
    return any(abs(a - b) <= distance for a in one for b in others)


class Report:
    """All figures over some runs."""

    def __init__(self, runs: Sequence[Run], modes: frozenset[FailureMode]) -> None:
        """`modes` are those to report; classes that none of them answers for are left out."""
        self.runs = runs
        self.modes = modes

    @cached_property
    def datasets(self) -> dict[str, Report]:
        """The same by file."""
        named: dict[str, list[Run]] = {}
        for run in self.runs:
            named.setdefault(run.trace.dataset, []).append(run)
        return {name: Report(runs, self.modes) for name, runs in sorted(named.items())}

    @cached_property
    def classes(self) -> dict[str, ClassFigures]:
        """By class, those that some trace is labelled with."""
        figures = {}
        for failure, modes in CLASSES.items():
            by_set = (
                [ClassFigures(failure, runs) for runs in self._pools()]
                if modes & self.modes
                else []
            )
            known = [one for one in by_set if one.exhaustive] or by_set
            found = ClassFigures(failure, [run for one in known for run in one.runs])
            if found.runs:
                figures[failure] = found
        return figures

    @cached_property
    def everywhere(self) -> dict[str, ClassFigures]:
        """By class, over every trace that is labelled with it or free of it: for places,
        delays and evidence, not for shares, as the sets differ in what they label."""
        return {failure: ClassFigures(failure, self.runs) for failure in self.classes}

    def _pools(self) -> list[list[Run]]:
        """The runs of each file; loop cases only where there is nothing else."""
        named: dict[str, list[Run]] = {}
        for run in self.runs:
            named.setdefault(run.trace.dataset, []).append(run)
        real = [runs for runs in named.values() if not any(run.trace.case for run in runs)]
        return real or list(named.values())

    @cached_property
    def loop_cases(self) -> CaseFigures:
        """Those with an ideal label."""
        counts = CaseFigures()
        for run in self.runs:
            if run.trace.case is not None and run.trace.case.ideal is not None:
                counts = _with_case(counts, run, run.acting({FailureMode.LOOP}))
        return counts

    @cached_property
    def healthy_runs(self) -> list[Run]:
        """Sessions that needed no intervention."""
        return [run for run in self.runs if run.trace.healthy]

    def healthy(self, mode: FailureMode | None = None) -> Healthy:
        """How often the policy would intervene there, for one mode or for all reported."""
        modes = self.modes if mode is None else {mode}
        acting = [len(run.acting(modes)) for run in self.healthy_runs]
        return Healthy(len(acting), sum(count > 0 for count in acting), sum(acting))

    def false(self) -> list[tuple[Run, Finding]]:
        """Interventions in healthy sessions, the surest first."""
        found = [(run, one) for run in self.healthy_runs for one in run.acting(self.modes)]
        return sorted(found, key=lambda one: -one[1].confidence)

    def flagged(self, outcome: Outcome) -> tuple[int, int]:
        """Of the runs that ended so, how many an intervention would have met, and all."""
        runs = [run for run in self.runs if run.trace.outcome is outcome]
        return sum(bool(run.acting(self.modes)) for run in runs), len(runs)

    def near_errors(self) -> tuple[int, int]:
        """Of the flagged runs whose source places errors of whatever class, how many have
        a finding within `NEAR` steps of one, and all."""
        runs = [(run, run.acting(self.modes)) for run in self.runs if run.trace.errors]
        flagged = [(run.trace.errors, acting) for run, acting in runs if acting]
        near = [
            any(_reach(errors, finding.places(), NEAR) for finding in acting)
            for errors, acting in flagged
        ]
        return sum(near), len(near)

    def said(self, mode: FailureMode) -> list[tuple[float, bool]]:
        """Highest confidence of a mode in each trace that has a finding of it, and whether
        it is right: labelled so, and wrong in a trace that is labelled free or healthy.
        Traces of which neither is known do not count."""
        return [
            (confidence, right)
            for run in self.runs
            if (confidence := run.confidence({mode})) and (right := truth(run, mode)) is not None
        ]


def truth(run: Run, mode: FailureMode) -> bool | None:
    """Whether a finding of the mode is right in this trace; None where nobody looked. That
    a set labels where it is (MIRAGE) does not count: all findings would seem right there.
    """
    looked = [failure for failure in run.trace.known if mode in CLASSES[failure]]
    if looked:
        return any(run.trace.holds(failure) for failure in looked)
    return False if run.trace.healthy else None


def _with_case(counts: CaseFigures, run: Run, acting: Sequence[Finding]) -> CaseFigures:
    case = run.trace.case
    assert case is not None
    if not case.ideal:
        return msgspec.structs.replace(
            counts, healthy=counts.healthy + 1, false=counts.false + bool(acting)
        )
    verdict = acting[0].acting if acting else None
    in_time = verdict is not None and (
        case.by_step is None or run.trace.step_of(verdict.seq) <= case.by_step
    )
    return msgspec.structs.replace(
        counts,
        loops=counts.loops + 1,
        caught=counts.caught + bool(acting),
        in_time=counts.in_time + in_time,
    )
