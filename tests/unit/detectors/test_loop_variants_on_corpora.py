"""The corpora's loop cases in other clothes: a detector that fits their wording, their tools'
names or their length would lose them. The counts are what `docs/detection.md` tells."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypedDict

import pytest

from detectors.loop import Loop
from supervisor.eval.corpora import traces
from supervisor.eval.stream import Bench
from supervisor.policy.load import load_policy
from supervisor.runtime import registry


class Step(TypedDict, total=False):
    kind: str
    tool: str
    input: object
    text: str
    deltas: list[str]
    id: str
    is_error: bool


Change = Callable[[list[Step]], list[Step]]


def as_they_are(steps: list[Step]) -> list[Step]:
    return steps


def with_other_tools(steps: list[Step]) -> list[Step]:
    """Names of which nothing can be read."""
    names: dict[str, str] = {}
    for step in steps:
        if tool := step.get("tool"):
            step["tool"] = names.setdefault(tool, f"custom{len(names)}")
    return steps


def in_other_words(steps: list[Step]) -> list[Step]:
    """Every longer word of a text turned round."""
    for step in steps:
        if step["kind"] in {"assistant_text", "thinking", "user"}:
            step["text"] = turned(step.get("text") or "")
            if step.get("deltas"):
                step["deltas"] = [turned(delta) for delta in step["deltas"]]
    return steps


def turned(text: str) -> str:
    return re.sub(r"[A-Za-z]{4,}", lambda word: word[0][::-1].lower(), text)


def between_words(steps: list[Step]) -> list[Step]:
    """Something else is said before each call."""
    changed: list[Step] = []
    for number, step in enumerate(steps):
        if step["kind"] == "tool_call":
            changed.append({"kind": "assistant_text", "text": f"On to point {number} of it."})
        changed.append(step)
    return changed


def after_other_work(steps: list[Step]) -> list[Step]:
    before: list[Step] = [{"kind": "user", "text": "Do it."}]
    for number in range(8):
        read: Step = {"tool": "Read", "id": f"before{number}", "is_error": False}
        given = {"file_path": f"/a/file{number}.py"}
        before.append({"kind": "tool_call", **read, "input": given})
        before.append({"kind": "tool_result", **read, "text": f"def part{number}(): ..."})
    return before + steps


def timed(steps: list[Step]) -> list[Step]:
    """Each result says when it came and how long it took."""
    for number, step in enumerate(steps):
        if step["kind"] == "tool_result":
            at = f"[2026-01-01T12:{number // 60 % 60:02}:{number % 60:02}Z]"
            step["text"] = f"{step.get('text') or ''}\n{at} took {number * 7 % 13}.{number % 10}s"
    return steps


@cache
def bench() -> Bench:
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    return Bench({Loop.name: Loop}, policy)


@pytest.mark.parametrize(
    ("change", "caught", "false"),
    [
        (as_they_are, 72, 0),
        (after_other_work, 72, 0),
        (between_words, 72, 0),
        (timed, 71, 0),
        (in_other_words, 72, 0),
        (with_other_tools, 68, 1),
    ],
)
def test_cases_are_told_apart_in_other_clothes(
    corpora: Path, tmp_path: Path, change: Change, caught: int, false: int
) -> None:
    cases = json.loads(gzip.decompress((corpora / "loop-cases.json.gz").read_bytes()))
    for case in cases:
        case["steps"] = change(case["steps"])
    file = tmp_path / "loop-cases.json"
    file.write_text(json.dumps(cases))
    found = {True: 0, False: 0}
    for trace in traces(file):
        if trace.case is not None and trace.case.ideal is not None:
            found[trace.case.ideal] += bool(bench().run(trace).acting())
    assert (found[True], found[False]) == (caught, false)
