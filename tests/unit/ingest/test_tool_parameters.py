"""What the tools of a listing take: `Notice.tools_taking`."""

from __future__ import annotations

import msgspec
import pytest

from supervisor.core.entry import Notice, Parameters
from supervisor.ingest.claude_code import TranscriptReader


def listed(*tools: object) -> tuple[Parameters, ...]:
    attachment = {"type": "prompt_snapshot", "tools": tools}
    line = msgspec.json.encode({"type": "attachment", "attachment": attachment})
    (entry,) = TranscriptReader("s", "t").read(line, 1)
    assert isinstance(entry, Notice)
    return entry.tools_taking


def tool(name: str, **schema: object) -> dict[str, object]:
    return {"name": name, "schema": {"name": name, "input_schema": schema}}


def test_a_schema_is_read_at_its_top_level() -> None:
    read = tool(
        "Read",
        type="object",
        properties={"file_path": {"type": "string"}, "limit": {"type": ["integer", "null"]}},
        required=["file_path"],
        additionalProperties=False,
    )
    assert listed(read) == (
        Parameters(
            tool="Read",
            types={"file_path": "string", "limit": ""},
            required=("file_path",),
            closed=True,
        ),
    )


def test_a_tool_that_takes_nothing_is_closed() -> None:
    (found,) = listed(tool("Stop", type="object", properties={}, additionalProperties=False))
    assert (found.types, found.closed) == ({}, True)


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "X"},
        {"name": "X", "schema": None},
        {"name": "X", "schema": []},
        {"name": "X", "schema": {"input_schema": "none"}},
        {"schema": {"input_schema": {"properties": {"a": {}}}}},
        tool("X", properties=[]),
        tool("X", properties={str(n): {} for n in range(1_000)}),
    ],
)
def test_what_cannot_be_read_is_left_out_and_the_rest_is_kept(broken: object) -> None:
    good = tool("Read", properties={"path": {"type": "string"}})
    assert [found.tool for found in listed(broken, good)] == ["Read"]


def test_a_required_parameter_that_is_not_defined_is_left_out() -> None:
    (found,) = listed(tool("X", properties={"a": 1}, required=["a", "b"]))
    assert (found.types, found.required) == ({"a": ""}, ("a",))
