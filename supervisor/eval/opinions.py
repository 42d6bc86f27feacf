"""Second opinions over traces: what a judge would add to what the policy acts on.

The same questions as live, within the same budgets, by the same `SecondOpinion`: about what
detectors found and no rule acts on, where a rule would act on a confirmation. Live, a judge is
asked while the agent works on, and about each verdict of a failure; here once a failure, about
the surest, and it is never too late.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from supervisor.core.entry import Entry, Origin, Prompt
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.eval.score import truth
from supervisor.eval.stream import Bench, Finding, Run
from supervisor.eval.tables import Table
from supervisor.eval.trace import Trace
from supervisor.policy.judge import Opinions
from supervisor.runtime.judge import objective_in
from supervisor.runtime.opinion import Question
from supervisor.runtime.second_opinion import Given, SecondOpinion, Spent

__all__ = ["Opinion", "Panel", "opinions_table", "question_in"]

_HOUR = 3_600.0  # seconds
_ENTRIES = 8
"""Entries shown to the judge, the last ones of the evidence, as live."""
_SECONDS = 5.0
"""For a connection to close."""
_SAID = frozenset({Given.CONFIRMED, Given.REJECTED, Given.UNCLEAR})


class Opinion(msgspec.Struct, frozen=True):
    """What came of one question."""

    mode: FailureMode
    given: Given
    right: bool | None
    """Whether the suspicion was right; None where the trace does not tell."""


class Panel:
    """Asks one judge about the findings of trace after trace."""

    def __init__(self, judge: Opinions, bench: Bench) -> None:
        self.opinions: list[Opinion] = []
        self.notes: list[str] = []
        """Why there was no opinion, once for each trace and kind of reason."""
        self._judge = judge
        self._bench = bench
        self._hour = Spent(_HOUR)

    async def hear(self, trace: Trace, run: Run) -> Run:
        """The run, with what the judge confirmed among its findings."""
        confirmed: list[Finding] = []

        async def read(verdict: Verdict) -> Question:
            return question_in(trace, verdict)

        async def take(verdict: Verdict) -> bool:
            confirmed.append(Finding(first=verdict, best=verdict, acting=verdict))
            return True

        async def note(source: str, message: str) -> None:
            self.notes.append(f"{trace.place}: {source}: {message}")

        opinion = SecondOpinion(
            self._judge,
            would_act=self._bench.acts_on,
            read=read,
            confirmed=take,
            note=note,
            hour=self._hour,
        )
        for finding in sorted(run.findings, key=lambda one: one.best.seq):
            given = None if finding.acting else await opinion.asked(finding.best)
            if given is not None:
                self.opinions.append(Opinion(finding.mode, given, truth(run, finding.mode)))
        await opinion.close(_SECONDS)
        return msgspec.structs.replace(run, findings=[*run.findings, *confirmed])


def question_in(trace: Trace, verdict: Verdict) -> Question:
    """What `verdict` rests on, with the prompt before it."""
    wanted = set(verdict.evidence.entries[-_ENTRIES:])
    prompt: Entry | None = None
    found: list[Entry] = []
    for entry in trace.entries():
        if entry.seq > verdict.seq:
            break
        if isinstance(entry, Prompt) and entry.origin is Origin.USER:
            prompt = entry
        if entry.seq in wanted:
            found.append(entry)
    if prompt is not None and prompt not in found:
        found.insert(0, prompt)
    objective = trace.objective or objective_in(trace.entries()) or ""
    return Question(verdict, objective, tuple(found))


def opinions_table(model: str, opinions: Iterable[Opinion]) -> Table:
    """By mode, what was asked and what came of it."""
    asked = list(opinions)
    modes = sorted({one.mode for one in asked})
    return Table(
        title=f"Second opinions of {one_line(model, 60)}",
        caption="Of findings that no rule acts on. right: confirmed, and the trace holds it; "
        "wrong: confirmed, and it does not; where neither is known, it is none of them. kept "
        "back: right suspicions that were not confirmed. no opinion: beyond the budget, too "
        "slow, malformed or unreachable.",
        headings=(
            "mode",
            "asked",
            "confirmed",
            "right",
            "wrong",
            "rejected",
            "unclear",
            "kept back",
            "no opinion",
        ),
        words=1,
        rows=[
            (mode, *map(str, _counts([one for one in asked if one.mode is mode]))) for mode in modes
        ],
    )


def _counts(asked: list[Opinion]) -> Iterator[int]:
    confirmed = [one for one in asked if one.given is Given.CONFIRMED]
    yield len(asked)
    yield len(confirmed)
    yield sum(one.right is True for one in confirmed)
    yield sum(one.right is False for one in confirmed)
    yield sum(one.given is Given.REJECTED for one in asked)
    yield sum(one.given is Given.UNCLEAR for one in asked)
    yield sum(one.right is True for one in asked) - sum(one.right is True for one in confirmed)
    yield sum(one.given not in _SAID for one in asked)
