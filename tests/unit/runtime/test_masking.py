"""Tool results that are left out of a raw entry."""

from __future__ import annotations

import json
from typing import Any, cast

import pytest
from claude_agent_sdk import SessionStoreEntry

from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime.masking import with_results_masked


def entry(*content: Any, **more: Any) -> SessionStoreEntry:
    message = {"role": "user", "content": list(content)}
    return cast(
        "SessionStoreEntry",
        {"type": "user", "uuid": "u", "parentUuid": "p", "message": message, **more},
    )


RESULT = {"type": "tool_result", "tool_use_id": "c", "content": "x" * 1_234, "is_error": False}


def test_a_result_is_replaced_by_its_size_and_its_entry() -> None:
    raw = entry(RESULT, toolUseResult={"stdout": "x" * 1_234})
    before = json.dumps(raw)
    masked = with_results_masked(57, raw)

    (found,) = TranscriptReader("s", "t", None).read(json.dumps(masked).encode(), 3)
    assert "1,234 characters, kept as entry 57" in str(found)
    assert "xxx" not in json.dumps(masked)
    assert json.dumps(raw) == before, "the stored entry stays as it is"
    assert {k: masked.get(k) for k in ("uuid", "parentUuid")} == {"uuid": "u", "parentUuid": "p"}


def test_the_parts_of_a_result_are_counted_and_other_blocks_kept() -> None:
    parts = [{"type": "text", "text": "ab"}, {"type": "image", "source": {}}]
    text = {"type": "text", "text": "kept"}
    masked = cast(
        "dict[str, Any]", with_results_masked(1, entry({**RESULT, "content": parts}, text))
    )

    result, kept = masked["message"]["content"]
    assert "a result of 2 characters" in result["content"]
    assert (result["tool_use_id"], kept) == ("c", text)


@pytest.mark.parametrize(
    "raw",
    [
        entry({"type": "text", "text": "x"}),
        {"type": "user", "message": {"role": "user", "content": "x"}},
        {"type": "summary"},
        {"type": "user", "message": "x"},
    ],
)
def test_what_is_no_result_stays_as_it_is(raw: Any) -> None:
    assert with_results_masked(1, raw) is raw
