"""`detectors.hallucinated_tool`: what its fixtures cannot show."""

from __future__ import annotations

import pytest

from detectors.hallucinated_tool import HallucinatedTool, HallucinatedToolConfig
from supervisor.core.entry import Entry, Notice, Origin, Prompt, ToolCall, ToolResult
from supervisor.core.verdict import Verdict
from supervisor.testing.fixtures import deep_size, verdicts_of, workload

PLACE = {"session_id": "s", "transcript": "t"}
FIRST_TOO = HallucinatedToolConfig(report_first_miss=True)


def miss(seq: int, tool: str) -> list[Entry]:
    text = f"<tool_use_error>Error: No such tool available: {tool}</tool_use_error>"
    return [
        ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool),
        ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=text, is_error=True),
    ]


def listing(seq: int, *names: str, gone: tuple[str, ...] = ()) -> Notice:
    return Notice(**PLACE, seq=seq, type="listing", tools_added=names, tools_removed=gone)


def nearest(tool: str, *listed: str) -> object:
    (verdict,) = verdicts_of(HallucinatedTool(FIRST_TOO), [listing(1, *listed), *miss(2, tool)])
    return verdict.evidence.facts["nearest"]


def test_a_first_miss_is_reported_where_the_policy_asks_for_it() -> None:
    (verdict,) = verdicts_of(HallucinatedTool(FIRST_TOO), miss(1, "Foo"))
    assert (verdict.onset_seq, verdict.seq, verdict.confidence) == (1, 2, 0.6)


def test_a_users_prompt_starts_anew() -> None:
    ask = Prompt(**PLACE, seq=3, text="Use Foo, please.")
    assert verdicts_of(HallucinatedTool(), [*miss(1, "Foo"), ask, *miss(4, "Foo")]) == []


def test_a_prompt_of_lucids_own_does_not() -> None:
    told = Prompt(**PLACE, seq=3, text="<lucid>There is no Foo.</lucid>", origin=Origin.LUCID)
    found = verdicts_of(HallucinatedTool(), [*miss(1, "Foo"), told, *miss(4, "Foo")])
    assert [verdict.seq for verdict in found] == [5]


def test_a_tool_that_was_taken_away_is_not_known_any_more() -> None:
    entries = [listing(1, "Foo"), *miss(2, "Foo"), listing(4, gone=("Foo",)), *miss(5, "Foo")]
    found: list[Verdict] = verdicts_of(HallucinatedTool(FIRST_TOO), entries)
    assert [verdict.seq for verdict in found] == [6]


@pytest.mark.parametrize(
    ("invented", "listed", "expected"),
    [
        ("read", ("Bash", "Read"), ("Read",)),
        ("read_file", ("Bash", "Read"), ("Read",)),
        ("MultiEdit", ("Bash", "Edit", "NotebookEdit"), ("Edit",)),
        ("execute_command", ("Bash", "Read"), ("Bash",)),
        ("SearchLogs", ("Bash", "Read"), ("Bash",)),
        ("search_repos", ("Bash", "mcp__hub__search_repo"), ("mcp__hub__search_repo", "Bash")),
        ("mcp__git__list_issues", ("Read", "mcp__hub__list_issues"), ("mcp__hub__list_issues",)),
        ("Jira", ("Bash", "Read"), ()),
        ("道具", ("Bash", "道具箱"), ("道具箱",)),
    ],
)
def test_the_nearest_tools_are_alike_in_name_or_purpose(
    invented: str, listed: tuple[str, ...], expected: tuple[str, ...]
) -> None:
    assert nearest(invented, *listed) == expected


def test_the_usual_tools_are_suggested_where_no_listing_names_any() -> None:
    assert nearest("open_file", "WebFetch") == ("Read",)
    assert nearest("open_file", "WebFetch", "Bash") == ()


@pytest.mark.parametrize("name", ["a b", "x" * 5_000, "(((", "日本", "mcp____"])
def test_any_name_can_be_missed(name: str) -> None:
    found = verdicts_of(HallucinatedTool(), [*miss(1, name), *miss(3, name)])
    assert len(found) == (1 if len(name) <= 128 else 0)


def test_a_long_session_takes_less_than_64_kib() -> None:
    detector = HallucinatedTool()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 64 * 1024
