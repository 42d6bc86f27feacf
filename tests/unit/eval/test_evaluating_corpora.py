"""The real corpora, where they are there: all of them are read, and fast enough to tune on."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from supervisor.core.entry import ToolCall, ToolResult
from supervisor.eval.corpora import read_corpora
from supervisor.eval.judged import judgements
from supervisor.eval.score import Report
from supervisor.eval.trace import Trace

_SECONDS = 60
"""Of one core, for all of them."""


@pytest.fixture(scope="module")
def found(corpora: Path) -> list[Trace]:
    """All their traces."""
    items = list(read_corpora([corpora]))
    assert all(isinstance(item, Trace) for item in items)
    return [item for item in items if isinstance(item, Trace)]


def test_every_trace_is_read_as_what_it_is(found: list[Trace]) -> None:
    assert Counter(trace.dataset for trace in found) == {
        "agentrx.jsonl.gz": 86,
        "bioagent.jsonl.gz": 6,
        "claude": 153,
        "loop-cases.json.gz": 204,
        "miniswe.jsonl.gz": 250,
        "mirage.jsonl.gz": 576,
        "taubench.jsonl.gz": 104,
        "trail.jsonl.gz": 77,
        "whowhen.jsonl.gz": 99,
    }
    labelled = Counter(
        (trace.dataset, label) for trace in found for label in {one.failure for one in trace.labels}
    )
    assert labelled["trail.jsonl.gz", "drift"] == 37
    assert labelled["mirage.jsonl.gz", "loop"] == 93
    assert Counter(trace.dataset for trace in found if trace.healthy) == {
        "claude": 152,
        "miniswe.jsonl.gz": 184,
        "taubench.jsonl.gz": 46,
    }


def test_every_judgement_is_of_a_transcript_that_is_there(found: list[Trace]) -> None:
    assert judgements().keys() <= {trace.digest for trace in found}


def test_no_normalised_trace_loses_a_step(found: list[Trace]) -> None:
    for trace in found:
        if trace.dataset == "claude":
            continue
        entries = list(trace.entries())
        seqs = sorted({entry.seq for entry in entries})
        assert seqs == list(range(1, len(seqs) + 1)), trace.id
        called = {entry.call_id for entry in entries if isinstance(entry, ToolCall)}
        answered = [entry.call_id for entry in entries if isinstance(entry, ToolResult)]
        assert trace.case is not None or set(answered) <= called, trace.id
        assert trace.case is not None or len(answered) == len(set(answered)), trace.id


def test_evaluating_them_all_takes_less_than_a_minute(evaluated: tuple[Report, float]) -> None:
    report, seconds = evaluated
    assert seconds < _SECONDS
    broken = Counter(
        trouble.source
        for run in report.runs
        for trouble in run.troubles
        if trouble.source != "ingest"
    )
    assert broken == {}
    assert (report.loop_cases.loops, report.loop_cases.healthy) == (73, 55)
    assert report.healthy().sessions == 382
