"""The figures in `detectors.loop`'s docstring, on the corpora a public clone lacks."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from detectors.loop import Loop
from supervisor.eval.corpora import traces
from supervisor.eval.stats import Confusion
from supervisor.eval.stream import Bench
from supervisor.eval.trace import Trace
from supervisor.policy.load import load_policy
from supervisor.runtime import registry


@cache
def bench() -> Bench:
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    return Bench({Loop.name: Loop}, policy)


def acted_on(trace: Trace) -> bool:
    run = bench().run(trace)
    assert [trouble for trouble in run.troubles if trouble.source != "ingest"] == []
    return bool(run.acting())


def is_loop(trace: Trace) -> bool:
    return trace.holds("loop") is True


def is_healthy(trace: Trace) -> bool:
    return trace.healthy


def is_no_loop(trace: Trace) -> bool:
    return trace.holds("loop") is False


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("mirage.jsonl.gz", is_loop, (92, 93)),
        ("loop-cases.json.gz", is_loop, (72, 73)),
        ("loop-cases.json.gz", is_no_loop, (0, 55)),
        ("miniswe.jsonl.gz", is_healthy, (0, 184)),
        ("taubench.jsonl.gz", is_healthy, (0, 46)),
        ("claude", is_healthy, (0, 152)),
    ],
)
def test_acted_on(
    corpora: Path, name: str, wanted: Callable[[Trace], bool], expected: tuple[int, int]
) -> None:
    found = [acted_on(trace) for trace in traces(corpora / name) if wanted(trace)]
    assert (sum(found), len(found)) == expected


def test_loop_cases_are_caught_no_later_than_by_their_source(corpora: Path) -> None:
    late = []
    for trace in traces(corpora / "loop-cases.json.gz"):
        case, acting = trace.case, bench().run(trace).acting()
        if case is None or not case.ideal or case.by_step is None or not acting:
            continue
        verdict = acting[0].acting
        assert verdict is not None
        if Trace.step_of(verdict.seq) > case.by_step:
            late.append(trace.id)
    assert late == []


def test_trail(corpora: Path) -> None:
    found = {"gaia": Confusion(), "swe_bench": Confusion()}
    for trace in traces(corpora / "trail.jsonl.gz"):
        source = trace.id.split("/")[1]
        found[source] = found[source].add(said=acted_on(trace), true=is_loop(trace))
    assert found == {
        "gaia": Confusion(tp=10, fp=3, fn=5, tn=46),
        "swe_bench": Confusion(tp=0, fp=0, fn=5, tn=8),
    }
