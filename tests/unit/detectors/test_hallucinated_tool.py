"""`detectors.hallucinated_tool`: what its fixtures cannot show."""

from __future__ import annotations

import msgspec
import pytest

from detectors.hallucinated_tool import HallucinatedTool, HallucinatedToolConfig
from detectors.hallucinated_tool.schemas import Schemas
from supervisor.core.entry import (
    Entry,
    Notice,
    Origin,
    Parameters,
    Prompt,
    Text,
    ToolCall,
    ToolResult,
)
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


def test_a_long_session_takes_less_than_24_kib() -> None:
    detector = HallucinatedTool()
    for entry in workload(20_000):
        tuple(detector.observe(entry))
    assert deep_size(detector) < 24 * 1024


def used(seq: int, tool: str, given: bytes, told: str, *, error: bool = True) -> list[Entry]:
    return [
        ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool=tool, input=msgspec.Raw(given)),
        ToolResult(**PLACE, seq=seq + 1, call_id=f"c{seq}", text=told, is_error=error),
    ]


def times_used(command: str, told: str, times: int = 3) -> list[Entry]:
    given = msgspec.json.encode({"command": command})
    return [entry for n in range(times) for entry in used(2 * n + 1, "Bash", given, told)]


@pytest.mark.parametrize(
    ("command", "told", "key"),
    [
        ("make && frobnicate", "sh: 1: frobnicate: not found", "command:frobnicate"),
        ("frobnicate -x", "zsh: command not found: frobnicate", "command:frobnicate"),
        ("node x.js ./lib", "Error: Cannot find module './lib'", "module:./lib"),
        ("python -c 'import a.b'", "No module named 'a.b'", "module:a.b"),
        ("python -c 'os.gone()'", "module 'os' has no attribute 'gone'", "name:gone"),
        ("python -c 'gone()'", "NameError: name 'gone' is not defined", "name:gone"),
        ("git log --gone", "fatal: unrecognized argument: --gone", "option:--gone"),
        ("gh issue --gone", "unknown flag: --gone", "option:--gone"),
        ("cat /a/b", "cat: /a/b: No such file or directory", "path:/a/b"),
        ("python x.py /a/b", "[Errno 2] No such file or directory: '/a/b'", "path:/a/b"),
    ],
)
def test_what_is_missing_is_named(command: str, told: str, key: str) -> None:
    (found,) = verdicts_of(HallucinatedTool(), times_used(command, told))
    assert (found.key, found.onset_seq) == (key, 1)


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("pytest tests/test_gone.py", "ModuleNotFoundError: No module named 'gone'"),
        ("make check", "sh: 1: frobnicate: not found"),
        ("run_gone_fast", "AttributeError: 'X' object has no attribute 'gone'"),
    ],
)
def test_a_name_that_is_not_the_calls_own_does_not_count(command: str, told: str) -> None:
    assert verdicts_of(HallucinatedTool(), times_used(command, told, 6)) == []


def test_parallel_calls_of_what_is_missing_are_one_use() -> None:
    given = b'{"command": "frobnicate"}'
    calls, told = zip(
        *(used(n, "Bash", given, "frobnicate: not found") for n in (1, 2, 3)), strict=True
    )
    late = [msgspec.structs.replace(entry, seq=9 + n) for n, entry in enumerate(told)]
    assert verdicts_of(HallucinatedTool(), [*calls, *late]) == []


def test_a_users_word_starts_the_counts_anew() -> None:
    before, after = (
        times_used("frobnicate", "frobnicate: not found", 2),
        used(8, "Bash", b'{"command": "frobnicate"}', "frobnicate: not found"),
    )
    ask = Prompt(**PLACE, seq=7, text="It is installed now.")
    assert verdicts_of(HallucinatedTool(), [*before, ask, *after]) == []


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        (b'{"path": "/a"}', ""),
        (b"{}", "it lacks path"),
        (b'{"path": 1}', "path is no string"),
        (b'{"path": "/a", "limit": true}', "limit is no integer"),
        (b'{"path": "/a", "limt": 1}', "there is no limt (nearest: limit)"),
        (b'{"path": "/a", "any": [1]}', ""),
        (b"[1]", ""),
        (b"{", ""),
    ],
)
def test_arguments_are_held_against_the_schema(given: bytes, complaint: str) -> None:
    schemas = Schemas()
    types = {"path": "string", "limit": "integer", "any": ""}
    schemas.learn([Parameters(tool="Read", types=types, required=("path",), closed=True)])
    assert schemas.complaint("Read", given) == complaint


def test_what_stood_in_compacted_history_was_consulted() -> None:
    said = Text(
        **PLACE, seq=3, text="Based on my research and a search, it is.", stop_reason="end_turn"
    )
    summary = Prompt(**PLACE, seq=2, text="So far: …", origin=Origin.COMPACTION)
    assert verdicts_of(HallucinatedTool(), [summary, said]) == []
    assert len(verdicts_of(HallucinatedTool(), [said])) == 1


def test_megabytes_and_broken_input_are_judged_quietly() -> None:
    huge = b'{"command": "' + b"x" * 2_000_000 + b'"}'
    entries = [
        *used(1, "Bash", huge, "y" * 2_000_000),
        *used(3, "Bash", b"\xff\xfe", "\ud800"),
        Text(**PLACE, seq=5, text="<tool_call" * 100_000),
    ]
    assert verdicts_of(HallucinatedTool(), entries) == []
