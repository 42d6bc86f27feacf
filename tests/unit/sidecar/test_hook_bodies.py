"""A hook's body: what is used of it is decoded strictly, within bounds; the rest is let pass."""

from __future__ import annotations

import json
from typing import Any

import pytest

from supervisor.errors import HookError
from supervisor.sidecar.hook import LARGEST_BODY, read_hook


def body(event: str = "PreToolUse", **fields: Any) -> bytes:
    return json.dumps({"hook_event_name": event, "session_id": "s-1", **fields}).encode()


def test_what_a_call_is_about_is_read() -> None:
    given = {"command": "ls", "nested": [{"deep": True}]}
    hook = read_hook(
        body(tool_name="Bash", tool_input=given, tool_use_id="t", agent_id="a1", effort={"x": 1})
    )
    assert (hook.event, hook.session_id, hook.agent_id) == ("PreToolUse", "s-1", "a1")
    assert (hook.tool_name, hook.tool_use_id) == ("Bash", "t")
    assert json.loads(bytes(hook.tool_input)) == given


def test_what_goes_on_behind_a_stop_is_read() -> None:
    tasks = [{"id": "t1", "type": "subagent", "status": "running"}]
    hook = read_hook(body("Stop", last_assistant_message="Done.", background_tasks=tasks))
    assert hook.last_assistant_message == "Done."
    assert [task.type for task in hook.background_tasks or ()] == ["subagent"]


def test_half_a_character_is_no_fault() -> None:
    assert (
        read_hook(body("Stop", last_assistant_message="a\ud800b")).last_assistant_message == "a?b"
    )


def test_an_event_of_another_version_is_let_pass_whatever_its_fields_hold() -> None:
    hook = read_hook(body("Tomorrow", tool_name={"name": 5}, reason=[1]))
    assert (hook.event, hook.tool_name, hook.reason) == ("Tomorrow", "", None)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[]", "Expected `object`"),
        (b"null", "Expected `object`"),
        (b'{"hook_event_name": "Stop"}', "session_id"),
        (b'{"session_id": "s"}', "hook_event_name"),
        (b'{"hook_event_name": "", "session_id": "s"}', "hook_event_name"),
        (body("Stop", session_id="../../etc/passwd"), "session_id"),
        (body("Stop", session_id="a/b"), "session_id"),
        (body("Stop", session_id=""), "session_id"),
        (body("Stop", session_id="s" * 200), "session_id"),
        (body("Stop", agent_id=".."), "agent_id"),
        (body("Stop", transcript_path="a\0b"), "transcript_path"),
        (body("Stop", transcript_path="a" * 5000), "transcript_path"),
        (body("PreToolUse", tool_use_id=["t"]), "tool_use_id"),
        (b'{"hook_event_name": "Stop", "session_id": "s", "x": ' + b"[" * 100_000, "deep"),
        (body(tool_input=0)[:-2] + b"[" * 100_000 + b"]" * 100_000 + b"}", "deep"),
    ],
    ids=lambda value: value[:60].decode(errors="replace") if isinstance(value, bytes) else value,
)
def test_what_is_no_hook_is_refused(raw: bytes, said: str) -> None:
    with pytest.raises(HookError, match=said) as refused:
        read_hook(raw)
    assert refused.value.status == 400


def test_a_body_beyond_measure_is_refused_unread() -> None:
    with pytest.raises(HookError) as refused:
        read_hook(b" " * (LARGEST_BODY + 1))
    assert refused.value.status == 413
