"""A trace through the detectors, exactly as live: entry by entry, and what was found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta

import msgspec

from supervisor.core.detector import Detector
from supervisor.core.entry import (
    ApiError,
    Entry,
    Notice,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
)
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.eval.trace import Trace
from supervisor.policy.engine import matches
from supervisor.policy.model import Policy
from supervisor.runtime.judge import Judge, Judged, Trouble

__all__ = ["Bench", "Excerpt", "Finding", "Run", "judged_entries"]

_EXCERPT = 400
"""Characters of an entry that are quoted."""
_SILENCES = tuple(timedelta(minutes=m) for m in (1, 2, 5, 10, 15, 20, 30, 45, 60, 120))
"""After how much silence between two entries the detectors are told the time."""


class Finding(msgspec.Struct, kw_only=True):
    """One failure that one detector found in a trace: all its verdicts of one key."""

    first: Verdict
    best: Verdict
    """The first of those with the highest confidence."""
    acting: Verdict | None = None
    """The first one at which the policy would intervene."""
    verdicts: int = 1

    @property
    def mode(self) -> FailureMode:
        """The failure mode."""
        return self.first.failure_mode

    @property
    def confidence(self) -> float:
        """The highest."""
        return self.best.confidence

    def places(self) -> frozenset[int]:
        """The steps it points at, as it is acted on: where it fired, and its onset."""
        verdict = self.acting or self.best
        return frozenset({Trace.step_of(verdict.seq), Trace.step_of(verdict.onset_seq)})


class Excerpt(msgspec.Struct, frozen=True):
    """An entry as it is quoted."""

    seq: int
    kind: str
    text: str
    """One line, bounded."""


class Run(msgspec.Struct, kw_only=True):
    """What came of one trace."""

    trace: Trace
    """Without its entries."""
    findings: list[Finding]
    troubles: list[Trouble]
    entries: int
    excerpts: dict[int, list[Excerpt]] = {}
    """The entries that findings rest on and labels point at, by `seq`, where asked for."""

    def acting(self, modes: Iterable[FailureMode] | None = None) -> list[Finding]:
        """The findings at which the policy would intervene, in the order of the entries."""
        wanted = None if modes is None else set(modes)
        found = [
            (finding.acting.seq, finding)
            for finding in self.findings
            if finding.acting is not None and (wanted is None or finding.mode in wanted)
        ]
        return [finding for _, finding in sorted(found, key=lambda one: one[0])]

    def confidence(self, modes: Iterable[FailureMode]) -> float:
        """The highest of all findings of these modes; 0 without any."""
        wanted = set(modes)
        return max((one.confidence for one in self.findings if one.mode in wanted), default=0.0)


class Bench:
    """Detectors and the policy whose rules say which verdicts lead to an intervention."""

    def __init__(
        self,
        detectors: Mapping[str, type[Detector]],
        policy: Policy,
        *,
        threshold: float | None = None,
        quoting: bool = False,
    ) -> None:
        """`threshold` stands in for the policy's rules: from that confidence on, every
        verdict counts as acted on. `quoting` keeps excerpts of the evidence."""
        self._detectors = detectors
        self._policy = policy
        self._threshold = threshold
        self._quoting = quoting

    def run(self, trace: Trace) -> Run:
        """Stream one trace. A detector that raises is switched off for it, as live."""
        judge = Judge(trace.id, self._detectors, self._policy.detectors, self._policy.risk)
        found: dict[tuple[str, str | None, str], Finding] = {}
        troubles: list[Trouble] = []
        entries = 0
        for judged in judged_entries(trace, judge):
            entries += len(judged.entries)
            troubles += judged.troubles
            for verdict in judged.verdicts:
                self._add(found, verdict)
        return Run(
            trace=msgspec.structs.replace(trace, batches=_nothing),
            findings=list(found.values()),
            troubles=troubles,
            entries=entries,
            excerpts=_excerpts(trace, found.values()) if self._quoting else {},
        )

    def acts_on(self, verdict: Verdict) -> bool:
        """Whether the policy would intervene for it."""
        if self._threshold is not None:
            return verdict.confidence >= self._threshold
        return any(matches(rule, verdict) for rule in self._policy.rules)

    def _add(self, found: dict[tuple[str, str | None, str], Finding], verdict: Verdict) -> None:
        key = (verdict.detector, verdict.agent_id, verdict.key)
        finding = found.get(key)
        if finding is None:
            finding = found[key] = Finding(first=verdict, best=verdict, verdicts=0)
        finding.verdicts += 1
        if verdict.confidence > finding.best.confidence:
            finding.best = verdict
        if finding.acting is None and self.acts_on(verdict):
            finding.acting = verdict


def _excerpts(trace: Trace, findings: Iterable[Finding]) -> dict[int, list[Excerpt]]:
    wanted = {
        step + 1
        for label in trace.labels
        for step in (label.step, *label.occurrences)
        if step is not None
    }
    for finding in findings:
        wanted.update((finding.acting or finding.best).evidence.entries)
    quoted: dict[int, list[Excerpt]] = {}
    for entry in trace.entries() if wanted else ():
        if entry.seq in wanted:
            about = Excerpt(entry.seq, _kind(entry), one_line(_text(entry), _EXCERPT))
            quoted.setdefault(entry.seq, []).append(about)
    return quoted


def _kind(entry: Entry) -> str:
    match entry:
        case Prompt():
            return f"prompt ({entry.origin})"
        case ToolResult(is_error=True):
            return "tool error"
        case _:
            return str(type(entry).__struct_config__.tag).replace("_", " ")


def _text(entry: Entry) -> str:
    match entry:
        case ToolCall():
            head = bytes(memoryview(entry.input)[: 8 * _EXCERPT])
            return f"{entry.tool} {head.decode(errors='replace')}"
        case Prompt() | Text() | Thinking() | ToolResult():
            return entry.text
        case ApiError():
            return entry.message
        case Notice() | Unknown():
            return entry.type
        case _:
            return ""


def judged_entries(trace: Trace, judge: Judge) -> Iterator[Judged]:
    """What a judge makes of a trace, entry by entry, told the time in between, and its end."""
    last: datetime | None = None
    for batch in trace.batches():
        at = next((entry.at for entry in batch if entry.at is not None), None)
        if at is not None:
            for now in _ticks(last, at):
                yield judge.tick(now)
            last = at
        yield judge.judge(batch)
    yield judge.finish()


def _ticks(last: datetime | None, at: datetime) -> Iterator[datetime]:
    if last is None:
        return
    for silence in _SILENCES:
        if last + silence >= at:
            return
        yield last + silence


def _nothing() -> Iterator[tuple[()]]:
    return iter(())
