"""What the gauntlet's healthy look-alikes taught the detectors `budget` and `loop`."""

from __future__ import annotations

import msgspec
import pytest

from detectors.budget import Budget, BudgetConfig
from detectors.loop import Loop
from supervisor.core.entry import Entry, Prompt, ToolCall, ToolResult
from supervisor.testing.fixtures import verdicts_of

PLACE = {"session_id": "s", "transcript": "t"}
ASKED = Prompt(**PLACE, seq=1, turn=1, text="Do it.")


def call(seq: int, tool: str, **given: object) -> ToolCall:
    raw = msgspec.Raw(msgspec.json.encode(given))
    return ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool, input=raw)


def test_an_agent_that_was_told_of_its_limit_has_calls_left_to_end() -> None:
    config = BudgetConfig.model_validate({"turn": {"calls": 8}})
    calls = [call(seq, "Bash", command=f"echo {seq}") for seq in range(2, 22)]

    verdicts = verdicts_of(Budget(config), [ASKED, *calls])

    assert [verdict.seq for verdict in verdicts] == [10, 16]


def errands(*prompts: str) -> list[Entry]:
    entries: list[Entry] = [ASKED]
    for number, prompt in enumerate(prompts):
        seq = 2 + 2 * number
        entries.append(call(seq, "Agent", prompt=prompt))
        said = f"Answer {number}."
        entries.append(ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=said))
    return entries


@pytest.mark.parametrize(
    ("prompt", "found"),
    [
        ("Read p{n}.txt and say what number it holds.", False),
        ("Sum up chapter {n} of the book in one line.", False),
        ("Find orders.csv and count its lines.", True),
    ],
)
def test_a_batch_of_errands_is_told_from_the_same_errand(prompt: str, found: bool) -> None:
    entries = errands(*(prompt.format(n=number) for number in (1, 2, 3)))

    assert bool(verdicts_of(Loop(), entries)) is found


def reads(*ranges: tuple[int, int]) -> list[Entry]:
    entries: list[Entry] = [ASKED]
    for number, (first, last) in enumerate(ranges):
        seq = 2 + 2 * number
        limit = last - first + 1
        entries.append(call(seq, "Read", file_path="minutes.md", offset=first, limit=limit))
        said = "\n".join(f"{line}\tline {line} of it" for line in range(first, last + 1))
        entries.append(ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=said))
    return entries


def test_another_limit_is_no_sign_that_the_file_has_changed() -> None:
    entries = reads((1, 9), (2, 4), (4, 6), (1, 2), (2, 6), (5, 6))

    assert [verdict.seq for verdict in verdicts_of(Loop(), entries)] == [13]
