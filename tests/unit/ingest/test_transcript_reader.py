"""What `TranscriptReader` makes of a line: who prompted, what was called, what is broken."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from supervisor.core.entry import (
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
    Unknown,
    Usage,
)
from supervisor.ingest.claude_code import TranscriptReader

Record = dict[str, Any]


def _line(record: object) -> bytes:
    return json.dumps(record).encode()


def _user(content: object, **fields: object) -> Record:
    return {"type": "user", "uuid": "u", "message": {"role": "user", "content": content}, **fields}


def _assistant(*blocks: object, **fields: object) -> Record:
    return {"type": "assistant", "uuid": "a", "message": {"content": list(blocks), **fields}}


def _read(record: object, **options: Any) -> tuple[Entry, ...]:
    return TranscriptReader("session", "transcript", **options).read(_line(record), 7)


def _only(record: object, **options: Any) -> Entry:
    (entry,) = _read(record, **options)
    return entry


@pytest.mark.parametrize(
    ("record", "origin"),
    [
        pytest.param(_user("fix the bug"), Origin.USER, id="text"),
        pytest.param(_user([{"type": "text", "text": "fix"}]), Origin.USER, id="text-block"),
        pytest.param(_user("[Image #1] look"), Origin.USER, id="image-caption"),
        pytest.param(_user("hi", origin={"kind": "human"}), Origin.USER, id="said-to-be-human"),
        pytest.param(_user("hi", promptSource="sdk"), Origin.USER, id="through-the-sdk"),
        pytest.param(
            _user("<system-reminder>a</system-reminder> fix it"),
            Origin.USER,
            id="reminder-and-text",
        ),
        pytest.param(_user("<lucid>\nstop\n</lucid>"), Origin.LUCID, id="lucid"),
        pytest.param(_user("<lucid>x", isMeta=True), Origin.LUCID, id="lucid-as-meta"),
        pytest.param(_user("<task-notification>\n<x>"), Origin.TASK, id="task-by-its-tag"),
        pytest.param(
            _user("done", origin={"kind": "task-notification"}),
            Origin.TASK,
            id="task-by-its-origin",
        ),
        pytest.param(_user("summary", isCompactSummary=True), Origin.COMPACTION, id="compaction"),
        pytest.param(_user("hook says", isMeta=True), Origin.META, id="meta"),
        pytest.param(_user("go on", origin={"kind": "auto-continuation"}), Origin.META, id="auto"),
        pytest.param(_user("go on", promptSource="system"), Origin.META, id="by-the-system"),
        pytest.param(_user("[Request interrupted by user]"), Origin.META, id="interrupt"),
        pytest.param(_user("<command-name>/model</command-name>"), Origin.META, id="command"),
        pytest.param(_user("<command-message>x</command-message>"), Origin.META, id="command-text"),
        pytest.param(_user("<local-command-stdout>x"), Origin.META, id="command-output"),
        pytest.param(_user("<bash-input>ls</bash-input>"), Origin.META, id="shell-input"),
        pytest.param(
            _user("<system-reminder>a</system-reminder>\n<system-reminder>b\n</system-reminder>\n"),
            Origin.META,
            id="reminders-only",
        ),
    ],
)
def test_a_prompt_tells_who_put_it_there(record: Record, origin: Origin) -> None:
    entry = _only(record)
    assert isinstance(entry, Prompt)
    assert entry.origin is origin


def test_a_subagents_first_prompt_is_its_parents() -> None:
    reader = TranscriptReader("session", "transcript", "helper")
    raws = [_user("<system-reminder>x</system-reminder>"), _user("look around"), _user("and there")]
    origins = [reader.read(_line(raw), seq)[0] for seq, raw in enumerate(raws, 1)]
    assert [(p.origin, p.turn) for p in origins if isinstance(p, Prompt)] == [
        (Origin.META, 0),
        (Origin.AGENT, 1),
        (Origin.USER, 2),
    ]


def test_turns_count_prompts_and_nothing_that_is_injected() -> None:
    reader = TranscriptReader("session", "transcript")
    records = [
        {"type": "summary", "summary": "s"},
        _user("one"),
        _assistant({"type": "text", "text": "yes"}),
        _user("[Request interrupted by user]"),
        _user("summary", isCompactSummary=True),
        _user("<lucid>two"),
        _user([{"type": "text", "text": "three"}, {"type": "text", "text": "still three"}]),
    ]
    turns = [
        entry.turn
        for seq, record in enumerate(records, 1)
        for entry in reader.read(_line(record), seq)
    ]
    assert turns == [0, 1, 1, 1, 1, 2, 3, 3]


def test_a_prompt_typed_during_a_turn_joins_it() -> None:
    reader = TranscriptReader("session", "transcript")
    reader.read(_line(_user("one")), 1)
    attachment = {"type": "queued_command", "prompt": "also this", "commandMode": "prompt"}
    (entry,) = reader.read(_line({"type": "attachment", "attachment": attachment}), 2)
    assert isinstance(entry, Prompt)
    assert (entry.text, entry.origin, entry.turn) == ("also this", Origin.USER, 1)


def test_an_entry_carries_its_place() -> None:
    record = _user("x", parentUuid="p", timestamp="2026-03-01T10:00:00.5Z", sessionId="elsewhere")
    entry = TranscriptReader("session", "transcript").read(_line(record), 7, inherited=True)[0]
    assert (entry.session_id, entry.transcript, entry.seq, entry.part) == (
        "session",
        "transcript",
        7,
        0,
    )
    assert (entry.uuid, entry.parent, entry.inherited) == ("u", "p", True)
    assert entry.at == datetime(2026, 3, 1, 10, 0, 0, 500_000, tzinfo=UTC)


def test_a_time_without_a_zone_is_utc() -> None:
    entry = _only(_user("x", timestamp="2026-03-01T10:00:00"))
    assert entry.at == datetime(2026, 3, 1, 10, tzinfo=UTC)


def test_the_blocks_of_a_message_become_its_parts() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": 3}
    record = _assistant(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "zzz"},
        {"type": "text", "text": "well"},
        {"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "/a"}},
        id="m1",
        model="model",
        stop_reason="tool_use",
        usage={**usage, "cache_creation_input_tokens": 4, "service_tier": "standard"},
    )
    thought, hidden, text, call = _read(record)
    assert isinstance(thought, Thinking)
    assert isinstance(hidden, Thinking)
    assert isinstance(text, Text)
    assert isinstance(call, ToolCall)
    assert [thought.text, hidden.text, text.text, call.tool] == ["hm", "", "well", "Read"]
    assert [entry.part for entry in (thought, hidden, text, call)] == [0, 1, 2, 3]
    assert (call.message_id, call.model, call.stop_reason) == ("m1", "model", "tool_use")
    assert call.usage == Usage(
        input_tokens=1, output_tokens=2, cache_read_tokens=3, cache_write_tokens=4
    )
    assert call.usage.context_tokens == 8


def test_a_calls_input_keeps_the_bytes_of_the_source() -> None:
    raw = (
        b'{"type":"assistant","message":{"content":[{"type":"tool_use","id":"t","name":"Read",'
        b'"input":{"b": 1.50,\n "a":"\\u00e9"}}]}}'
    )
    (call,) = TranscriptReader("session", "transcript").read(raw, 1)
    assert isinstance(call, ToolCall)
    assert bytes(call.input) == b'{"b": 1.50,\n "a":"\\u00e9"}'


def test_server_side_tools_are_calls_and_results() -> None:
    hits = [{"type": "web_search_result", "title": "T", "url": "https://example.org"}]
    call, result = _read(
        _assistant(
            {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}},
            {"type": "web_search_tool_result", "tool_use_id": "s1", "content": hits},
        )
    )
    assert isinstance(call, ToolCall)
    assert isinstance(result, ToolResult)
    assert (call.tool, result.call_id) == ("web_search", "s1")
    assert json.loads(result.text) == hits


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        (None, ""),
        ([], ""),
        ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "a\nb"),
        ([{"type": "text", "text": "a"}, {"type": "image", "source": {}}], "a"),
        ([{"type": "image", "source": {"data": "…"}}], ""),
        (
            [{"type": "tool_reference", "tool_name": "X"}],
            '[{"type": "tool_reference", "tool_name": "X"}]',
        ),
        ({"error": "denied"}, '{"error": "denied"}'),
    ],
)
def test_a_results_text_joins_what_is_text(content: object, text: str) -> None:
    block = {"type": "tool_result", "tool_use_id": "t", "content": content, "is_error": True}
    entry = _only(_user([block]))
    assert isinstance(entry, ToolResult)
    assert (entry.text, entry.call_id, entry.is_error) == (text, "t", True)


def test_tool_notices_name_the_tools() -> None:
    delta = {"type": "deferred_tools_delta", "addedNames": ["A"], "removedNames": ["B"]}
    entry = _only({"type": "attachment", "attachment": {**delta, "readdedNames": ["C"]}})
    assert isinstance(entry, Notice)
    assert (entry.tools_added, entry.tools_removed) == (("A", "C"), ("B",))


def test_a_new_record_type_is_unknown_and_no_problem() -> None:
    entry = _only({"type": "hologram", "uuid": "u"})
    assert isinstance(entry, Unknown)
    assert (entry.type, entry.problem, entry.uuid) == ("hologram", None, "u")


def test_a_new_content_block_is_unknown_and_its_neighbours_are_read() -> None:
    text, other = _read(_assistant({"type": "text", "text": "a"}, {"type": "hologram"}))
    assert isinstance(text, Text)
    assert isinstance(other, Unknown)
    assert (other.type, other.part, other.problem) == ("assistant/hologram", 1, None)


def test_interleaved_inline_sidechains_are_told_apart() -> None:
    def step(uuid: str, parent: str | None, text: str) -> Record:
        return {**_user(text), "uuid": uuid, "parentUuid": parent, "isSidechain": True}

    reader = TranscriptReader("session", "transcript")
    steps = [
        step("aaaaaaaa-1", None, "first task"),
        step("bbbbbbbb-1", None, "second task"),
        step("aaaaaaaa-2", "aaaaaaaa-1", "more"),
        step("bbbbbbbb-2", "bbbbbbbb-1", "more"),
        step("bbbbbbbb-3", "lost", "more"),
        {**_user("main"), "uuid": "m", "parentUuid": "x", "isSidechain": False},
    ]
    agents = [reader.read(_line(record), seq)[0].agent_id for seq, record in enumerate(steps, 1)]
    assert agents == ["aaaaaaaa", "bbbbbbbb", "aaaaaaaa", "bbbbbbbb", "bbbbbbbb", None]


HEAD = b'"uuid":"00000000-0000-4000-8000-000000000001","timestamp":"2026-03-01T10:00:00Z"'


BROKEN = {
    "empty": (b"", "malformed JSON at character 0"),
    "cut": (b'{"type":"user",' + HEAD + b',"message":{"content":"a', "malformed JSON"),
    "escape": (b'{"type":"user",' + HEAD + b',"x":"\\q"}', "Invalid \\escape"),
    "utf-8": (b'{"type":"user",' + HEAD + b',"x":"\xff"}', "invalid UTF-8 at byte"),
    "list": (b"[1, 2]", "a JSON list where an object belongs"),
    "null": (b"null", "a JSON NoneType where"),
    "two-records-in-a-line": (b'{"a":1}{"b":2}', "Extra data"),
    "deep": (b'{"x":' + b"[" * 200_000, "nested too deeply"),
    "huge-number": (b'{"x":' + b"9" * 5_000 + b',"y":"\\ud800"}', "malformed JSON"),
    "no-type": (b"{}", "without a type"),
    "type-of-a-wrong-type": (b'{"type":5}', "without a type"),
    "no-message": (b'{"type":"user"}', "not the shape of a user record"),
    "no-content": (b'{"type":"user","message":{"content":5}}', "not the shape"),
    "no-object": (b'{"type":"assistant","message":[]}', "not the shape"),
    "no-attachment": (b'{"type":"attachment","attachment":"x"}', "not the shape"),
}


@pytest.mark.parametrize(("raw", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_line_that_cannot_be_read_is_unknown_and_says_why(raw: bytes, problem: str) -> None:
    (entry,) = TranscriptReader("session", "transcript").read(raw, 3)
    assert isinstance(entry, Unknown)
    assert problem in (entry.problem or "")
    assert entry.seq == 3
    if HEAD in raw:
        assert entry.type == "user"
        assert entry.uuid == "00000000-0000-4000-8000-000000000001"
        assert entry.at == datetime(2026, 3, 1, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "fields",
    [
        {"timestamp": "yesterday"},
        {"timestamp": 5},
        {"uuid": 5},
        {"parentUuid": ["x"]},
        {"isMeta": "no"},
        {"isSidechain": 0},
        {"origin": "somewhere"},
        {"agentId": {}},
        {"version": None, "cwd": 7},
    ],
)
def test_a_field_of_a_wrong_type_does_not_lose_the_entry(fields: Record) -> None:
    entry = _only(_user("hello", **fields))
    assert isinstance(entry, Prompt)
    assert entry.text == "hello"


def test_a_block_of_a_wrong_type_does_not_lose_its_neighbours() -> None:
    blocks = ["stray", {"type": "text", "text": 5}, {"type": "text", "text": "kept"}]
    call = {"type": "tool_use", "id": 1, "name": "Read", "input": {}}
    stray, empty, kept, broken = _read(_assistant(*blocks, call, usage="free"))
    assert isinstance(stray, Unknown)
    assert isinstance(empty, Text)
    assert isinstance(kept, Text)
    assert isinstance(broken, Unknown)
    assert (empty.text, kept.text, kept.usage) == ("", "kept", None)
    assert broken.problem == "a content block without its type, id or name"


def test_what_javascript_writes_and_utf8_cannot_hold_is_read() -> None:
    raw = rb'{"type":"user","message":{"content":"cut \ud83d, whole \ud83d\ude00"},"x":NaN}'
    (entry,) = TranscriptReader("session", "transcript").read(raw, 1)
    assert isinstance(entry, Prompt)
    assert entry.text == "cut \ufffd, whole \U0001f600"


def test_nul_bytes_that_a_crash_left_are_passed_over() -> None:
    (entry,) = TranscriptReader("session", "transcript").read(b"\0\0" + _line(_user("hi")), 1)
    assert isinstance(entry, Prompt)


@pytest.mark.parametrize("record", [_user([]), _assistant()])
def test_a_message_without_content_still_is_an_entry(record: Record) -> None:
    assert isinstance(_only(record), Notice)
