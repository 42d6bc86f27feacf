"""A detector that says what a trace tells it to, and corpora written by hand."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from time import process_time

import pytest

from supervisor.core.detector import Detector
from supervisor.core.entry import Entry, Text, ToolResult
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.eval.corpora import traces
from supervisor.eval.score import Report
from supervisor.eval.stream import Bench, Run
from supervisor.policy.load import load_policy, parse_policy
from supervisor.runtime import registry

POLICY = "version: 1\nrules: [{name: r, on: loop, min_confidence: 0.8, ladder: [nudge]}]\n"


class Marker(Detector):
    """Finds a loop of confidence 0.9 where the agent writes `loop 0.9`."""

    name = "marker"
    failure_mode = FailureMode.LOOP

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        if not isinstance(entry, Text) or not (found := re.match(r"loop ([\d.]+)", entry.text)):
            return
        yield Verdict(
            session_id=entry.session_id,
            transcript=entry.transcript,
            seq=entry.seq,
            onset_seq=max(1, entry.seq - 2),
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.WARNING,
            confidence=float(found[1]),
            summary=f"It says {entry.text}",
            evidence=Evidence(entries=(entry.seq,), facts={"pattern": "said", "text": entry.text}),
            key="said",
        )


class Silence(Detector):
    """Finds a stall where it is told the time while a call runs."""

    name = "silence"
    failure_mode = FailureMode.STALL

    def __init__(self, config: object = None) -> None:
        super().__init__(None)
        self.last: Entry | None = None
        self.told: list[datetime] = []

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        self.last = entry
        if isinstance(entry, ToolResult):
            self.told.clear()
        return ()

    def tick(self, now: datetime) -> Iterator[Verdict]:
        assert self.last is not None
        self.told.append(now)
        yield Verdict(
            session_id=self.last.session_id,
            transcript=self.last.transcript,
            seq=self.last.seq,
            onset_seq=self.last.seq,
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.WARNING,
            confidence=0.5,
            summary=f"silent at {now:%H:%M}",
            evidence=Evidence(entries=(self.last.seq,)),
        )


@pytest.fixture(scope="session")
def evaluated(corpora: Path) -> tuple[Report, float]:
    """The real corpora under the default policy, and the processor's seconds it took."""
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    bench = Bench(registry.detectors(), policy)
    began = process_time()
    report = Report([bench.run(trace) for trace in traces(corpora)], frozenset(FailureMode))
    return report, process_time() - began


@pytest.fixture
def small(fixtures: Path) -> Path:
    """The folder of corpora written by hand."""
    return fixtures / "corpora"


@pytest.fixture
def bench() -> Bench:
    """One that runs the marker, under a policy that intervenes for loops from 0.8 on."""
    policy = parse_policy(
        POLICY, "p.yaml", detectors=registry.detectors(), actions=registry.actions()
    )
    return Bench({"marker": Marker, "silence": Silence}, policy, quoting=True)


@pytest.fixture
def runs(small: Path, bench: Bench) -> list[Run]:
    """All of them, streamed."""
    return [bench.run(trace) for trace in traces(small)]


@pytest.fixture
def report(runs: list[Run]) -> Report:
    """Their figures."""
    return Report(runs, frozenset(FailureMode))
