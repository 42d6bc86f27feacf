"""Settings are chosen on some tasks and judged on others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from supervisor.core.entry import Entry, ToolCall, ToolResult
from supervisor.eval.held_out import CHOICES, PARTS, HeldOut, cross_validated, settings_of
from supervisor.eval.held_out_tables import held_out_tables
from supervisor.eval.trace import Label, Trace
from supervisor.policy.load import load_policy
from supervisor.runtime import registry


def call(seq: int) -> ToolCall:
    given = msgspec.Raw(b'{"command": "make"}')
    return ToolCall(session_id="s", transcript="t", seq=seq, call_id="c", tool="Bash", input=given)


def result(seq: int) -> ToolResult:
    return ToolResult(
        session_id="s", transcript="t", seq=seq, call_id="c", text="error", is_error=True
    )


def run(number: int, runs: int, *, loop: bool, healthy: bool = False) -> Trace:
    """A trace of its own task, in which one call runs so often with the same answer."""

    def batches() -> Iterator[tuple[Entry, ...]]:
        for step in range(runs):
            yield (call(2 * step + 1),)
            yield (result(2 * step + 2),)

    return Trace(
        id=f"t{number}",
        group=f"task {number}",
        dataset="healthy" if healthy else "labelled",
        place="here",
        labels=(Label(failure="loop"),) if loop else (),
        known=frozenset() if healthy else frozenset({"loop"}),
        healthy=healthy,
        batches=batches,
    )


def validated(traces: list[Trace]) -> HeldOut:
    detectors = {"loop": registry.detectors()["loop"]}
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    return cross_validated(traces, detectors, policy)["loop"]


def test_the_defaults_are_kept_where_nothing_is_better() -> None:
    found = validated([run(n, 3 if n % 2 else 2, loop=bool(n % 2)) for n in range(20)])
    assert found.choices == {"defaults": PARTS}
    ((dataset, failure, shipped, held_out),) = found.confusions()
    assert (dataset, failure) == ("labelled", "loop")
    assert shipped == held_out == (10, 0, 0, 10)


def test_a_threshold_that_does_better_elsewhere_is_used() -> None:
    found = validated([run(n, 2 if n % 2 else 1, loop=bool(n % 2)) for n in range(20)])
    assert found.choices == {"repeats 2": PARTS}
    ((_, _, shipped, held_out),) = found.confusions()
    assert (shipped.tp, held_out.tp) == (0, 10)


def test_no_setting_is_chosen_that_flags_healthy_runs() -> None:
    loops = [run(n, 2 if n % 2 else 1, loop=bool(n % 2)) for n in range(20)]
    healthy = [run(100 + n, 2, loop=False, healthy=True) for n in range(20)]
    found = validated([*loops, *healthy])
    assert found.choices == {"defaults": PARTS}
    assert found.healthy() == (20, 0, 0)


def test_no_task_chooses_for_itself() -> None:
    """One task's runs alone would choose two repeats."""
    odd = [run(0, 2, loop=True) for _ in range(5)]
    others = [run(n, 3 if n % 2 else 2, loop=bool(n % 2)) for n in range(1, 41)]
    found = validated([*odd, *others])
    (own,) = [part for part in found.parts if any(one.group == "task 0" for one in part.said)]
    assert str(found.settings[own.setting]) == "defaults"


@pytest.mark.parametrize("detector", CHOICES)
def test_every_setting_is_one_of_the_detector_and_not_its_default(detector: str) -> None:
    kind = registry.detectors()[detector]
    first, *moved = settings_of(detector)
    default = first.config(kind)
    assert default == kind.Config()
    assert all(setting.config(kind) != default for setting in moved)


def test_small_corpora_have_tables(small: Path) -> None:
    from supervisor.eval.corpora import traces

    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    found = cross_validated(traces(small), registry.detectors(), policy)
    tables = {table.title: table for table in held_out_tables(found)}
    assert {row[0] for row in tables["What was chosen"].rows} == set(CHOICES)
    assert all(len(row) == len(table.headings) for table in tables.values() for row in table.rows)
