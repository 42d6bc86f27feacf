"""The worst misses and false interventions, each linked to the entries it rests on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from xml.etree.ElementTree import Element

from supervisor.core.text import one_line
from supervisor.core.verdict import Verdict
from supervisor.eval.page.markup import Child, node, table
from supervisor.eval.score import ClassFigures
from supervisor.eval.stream import Finding, Run
from supervisor.eval.trace import Label

__all__ = ["false_interventions", "misses"]

_WORST = 12
"""Shown of each list."""
_TEXT = 400
"""Characters of a text that is quoted."""
_NOTE = 100
"""Characters of what people wrote of a failure, in a heading."""
_ENTRIES = 12
"""Shown of one finding."""


def misses(found: ClassFigures, dataset: str) -> Iterator[Element]:
    """Traces that hold the class and would be left alone, those first in which the
    detectors were least suspicious."""
    missed = sorted(found.misses(), key=found.confidence)
    yield from _list(f"Misses in {dataset}", [_missed(run, found) for run in missed])


def false_interventions(name: str, false: Sequence[tuple[Run, Finding]]) -> Iterator[Element]:
    """Interventions where `name`, a class in a data set, was not to be found."""
    shown = [_false(run, finding) for run, finding in false]
    yield from _list(f"False interventions: {name}", shown)


def _list(title: str, blocks: Sequence[Element]) -> Iterator[Element]:
    if not blocks:
        return
    some = f", the worst {_WORST}" if len(blocks) > _WORST else ""
    yield node("h3", f"{one_line(title, 120)}: {len(blocks)}{some}")
    yield from blocks[:_WORST]


def _missed(run: Run, found: ClassFigures) -> Element:
    labels = [label for label in run.trace.labels if label.failure == found.failure]
    steps = {step for one in labels for step in (one.step, *one.occurrences) if step is not None}
    nearest = max(
        (finding.best for finding in found.findings(run)),
        key=lambda verdict: verdict.confidence,
        default=None,
    )
    said = "Nothing was said." if nearest is None else f"Nearest: {_told(nearest)}"
    notes = [one_line(label.note, _NOTE) for label in labels if label.note]
    title = ": ".join([one_line(run.trace.id, 160), *notes[:1]])
    about = [*(node("p", _labelled(label)) for label in labels), node("p", said)]
    return _block(title, about, run, sorted(step + 1 for step in steps))


def _labelled(label: Label) -> str:
    where = "" if label.step is None else f" at step {label.step}"
    return f"Labelled{where}: {one_line(label.note, _TEXT)}"


def _false(run: Run, finding: Finding) -> Element:
    verdict = finding.acting or finding.best
    title = f"{one_line(run.trace.id, 160)}: {_told(verdict)}"
    surest = f"{finding.verdicts} verdicts of this failure, the surest {finding.confidence:.2f}."
    facts: list[list[Child]] = [
        [one_line(name, 60), one_line(str(value), _TEXT)]
        for name, value in verdict.evidence.facts.items()
    ]
    about = [node("p", surest), table(("fact", "value"), facts, left=2)]
    return _block(title, about, run, verdict.evidence.entries)


def _told(verdict: Verdict) -> str:
    place = f"at {verdict.seq} since {verdict.onset_seq}"
    summary = one_line(verdict.summary, _TEXT)
    return f"{verdict.detector} {verdict.confidence:.2f} {place}: {summary}"


def _block(title: str, about: Sequence[Element], run: Run, seqs: Sequence[int]) -> Element:
    rows: list[list[Child]] = [
        [str(excerpt.seq), excerpt.kind, node("code", excerpt.text)]
        for seq in seqs[:_ENTRIES]
        for excerpt in run.excerpts.get(seq, ())
    ]
    entries = [table(("seq", "kind", "entry"), rows, left=3)] if rows else []
    place = node("p", one_line(run.trace.place, _TEXT), class_="place")
    return node("details", node("summary", title), *about, *entries, place)
