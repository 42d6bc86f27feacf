"""Whatever a transcript holds, all detectors together survive it, and judging it again,
in other batches or another interleaving, finds the same."""

from __future__ import annotations

import gzip
import json
import random
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import pytest
from claude_agent_sdk import SessionKey
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.core.detector import Detector
from supervisor.core.entry import Entry
from supervisor.core.verdict import Verdict
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from supervisor.runtime.replay import replay
from supervisor.store.interface import StoredEntry
from supervisor.store.sqlite import SqliteStore
from supervisor.testing.fixtures import deep_size

SESSION = "11111111-1111-4111-8111-111111111111"
MEGABYTE = "x" * (1 << 20)
_A_DETECTOR = 1 << 16
"""Bytes of state, a small fraction of any one of the huge entries."""
_A_VERDICT = 1 << 16
_TOGETHER = 1 << 16
"""Bytes that all detectors of an agent may hold together."""
_TOGETHER_AT_WORST = 80_000
"""The same where everything in a transcript is as long and as wide as it may be."""

Record = dict[str, object]

ODD = st.sampled_from(
    [
        "",
        "\x00\x1b[2J\u202e",
        "検索する",
        "بحث",
        "🙂" * 40,
        "a\ud800",
        "I will now run it.",
        "Done.",
    ]
)
TEXTS = ODD | st.text(st.characters(codec=None), max_size=40)
TOOLS = st.sampled_from(["Bash", "Read", "Edit", "TodoWrite", "mcp__x__y", "検索", "", "no such"])
IDS = st.sampled_from(["t1", "t2", "t3", ""])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=8,
)
INPUTS = st.fixed_dictionaries(
    {},
    optional={
        name: JSON | TEXTS
        for name in ("command", "file_path", "todos", "query", "old_string", "new_string", "prompt")
    },
)
BLOCKS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXTS),
    st.builds(lambda text: {"type": "thinking", "thinking": text}, TEXTS),
    st.builds(
        lambda id_, name, given: {"type": "tool_use", "id": id_, "name": name, "input": given},
        IDS,
        TOOLS,
        INPUTS | JSON,
    ),
)
RESULTS = st.builds(
    lambda id_, text, error: {
        "type": "tool_result",
        "tool_use_id": id_,
        "content": text,
        "is_error": error,
    },
    IDS,
    TEXTS | st.just("<tool_use_error>Error: No such tool available: no such</tool_use_error>"),
    st.booleans(),
)
USAGE = st.none() | st.fixed_dictionaries(
    {"input_tokens": st.integers(0, 300_000), "output_tokens": st.integers(0, 9_000)}
)
RECORDS = st.one_of(
    st.builds(
        lambda blocks, usage: {
            "type": "assistant",
            "message": {"id": "m", "content": blocks, "usage": usage, "stop_reason": "end_turn"},
        },
        st.lists(BLOCKS, max_size=3),
        USAGE,
    ),
    st.builds(
        lambda content: {"type": "user", "message": {"role": "user", "content": content}},
        TEXTS | st.lists(RESULTS, max_size=2),
    ),
    st.builds(
        lambda names: {
            "type": "attachment",
            "attachment": {"type": "deferred_tools_delta", "addedNames": names},
        },
        st.lists(TOOLS, max_size=3),
    ),
    st.sampled_from(
        [
            {"type": "system", "subtype": "compact_boundary"},
            {"type": "system", "subtype": "api_error", "error": {"status": 529}},
            {"type": "what is this"},
            {"type": "user"},
            {},
        ]
    ),
)
TRANSCRIPTS = st.lists(st.tuples(RECORDS, st.booleans(), st.integers(1, 6)), max_size=25)
"""Records, whether each has a time, and how often it is repeated on end."""


def lines(transcript: Sequence[tuple[Record, bool, int]], name: str = "main") -> list[bytes]:
    found: list[bytes] = []
    for record, timed, times in transcript:
        for _ in range(times):
            number = len(found)
            at = {"timestamp": f"2026-01-01T{number // 60:02}:{number % 60:02}:00Z"}
            own = {"uuid": f"{name}-{number}", "sessionId": SESSION}
            found.append(json.dumps({**record, **own, **(at if timed else {})}).encode())
    return found


def stored(raws: Sequence[bytes], seqs: Sequence[int], subpath: str = "") -> list[StoredEntry]:
    return [
        StoredEntry(session_id="s", seq=seq, transcript=SESSION, subpath=subpath, raw=raw)
        for seq, raw in zip(seqs, raws, strict=True)
    ]


def judged(entries: Sequence[StoredEntry]) -> list[Verdict]:
    judge = Judge("s", registry.detectors(), {})
    found = [judge.observe(entry) for entry in entries]
    found.append(judge.finish())
    troubles = [trouble for one in found for trouble in one.troubles if trouble.source != "ingest"]
    assert troubles == []
    return [verdict for one in found for verdict in one.verdicts]


@settings(max_examples=80, deadline=None, derandomize=True, database=None)
@given(TRANSCRIPTS)
def test_any_transcript_is_judged_and_always_the_same(
    transcript: list[tuple[Record, bool, int]],
) -> None:
    raws = lines(transcript)
    entries = stored(raws, range(1, len(raws) + 1))
    verdicts = judged(entries)
    assert judged(entries) == verdicts
    assert all(1 <= one.onset_seq <= one.seq <= len(raws) for one in verdicts)
    assert all(0 <= one.confidence <= 1 for one in verdicts)


@pytest.mark.anyio
@settings(max_examples=12, deadline=None, derandomize=True, database=None)
@given(TRANSCRIPTS, st.lists(st.integers(1, 9), min_size=1, max_size=9))
async def test_a_replay_of_any_batches_finds_what_was_found_live(
    transcript: list[tuple[Record, bool, int]], sizes: list[int]
) -> None:
    raws = lines(transcript)
    key = SessionKey(project_key="p", session_id=SESSION)
    async with SqliteStore(None) as store:
        row = await store.create_session("s", project_key="p")
        judge = Judge("s", registry.detectors(), {})
        live: list[Verdict] = []
        start = turn = 0
        while start < len(raws):
            size = sizes[turn % len(sizes)]
            for entry in await store.write(key, raws[start : start + size], session_id="s"):
                live.extend(judge.observe(entry).verdicts)
            start, turn = start + size, turn + 1
        live.extend(judge.finish().verdicts)
        again = [one async for replayed in replay(store, row) for one in replayed.verdicts]
    assert again == live


@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(TRANSCRIPTS, TRANSCRIPTS, st.randoms(use_true_random=False))
def test_the_order_in_which_agents_are_heard_does_not_matter(
    main: list[tuple[Record, bool, int]],
    sub: list[tuple[Record, bool, int]],
    chance: random.Random,
) -> None:
    agents = [("", lines(main)), ("subagents/agent-a", lines(sub, "sub"))]
    one_after_the_other = [(path, raw) for path, raws in agents for raw in raws]
    waiting = {path: list(raws) for path, raws in agents}
    mixed = []
    while any(waiting.values()):
        path = chance.choice([path for path, raws in waiting.items() if raws])
        mixed.append((path, waiting[path].pop(0)))
    assert found_in(one_after_the_other) == found_in(mixed)


def found_in(order: Sequence[tuple[str, bytes]]) -> Counter[tuple[object, ...]]:
    """What is found, with the uuids in place of the positions in the session."""
    entries = [
        entry for seq, (path, raw) in enumerate(order, 1) for entry in stored([raw], [seq], path)
    ]
    uuids = {entry.seq: json.loads(entry.raw)["uuid"] for entry in entries}
    return Counter(
        (one.detector, one.agent_id, one.key, one.confidence, uuids[one.seq], uuids[one.onset_seq])
        for one in judged(entries)
    )


def assistant(*blocks: Record) -> Record:
    return {"type": "assistant", "message": {"id": "m", "content": list(blocks)}}


def user(content: object) -> Record:
    return {"type": "user", "message": {"role": "user", "content": content}}


CALL = {"type": "tool_use", "id": "t", "name": "Bash", "input": {"command": "make"}}
RESULT = {"type": "tool_result", "tool_use_id": "t", "content": "error 2", "is_error": True}

HUGE = {
    "arguments": [assistant({**CALL, "input": {"command": MEGABYTE}}), user([RESULT])],
    "nested arguments": [
        assistant({**CALL, "input": {"todos": json.loads("[" * 400 + "]" * 400)}}),
        user([RESULT]),
    ],
    "many arguments": [assistant({**CALL, "input": {str(n): n for n in range(50_000)}})],
    "result": [assistant(CALL), user([{**RESULT, "content": MEGABYTE}])],
    "one line of text": [assistant({"type": "text", "text": MEGABYTE})],
    "many lines of text": [assistant({"type": "text", "text": "so it goes\n" * 100_000})],
    "spaces": [assistant({"type": "text", "text": " " * (1 << 20)})],
    "brackets": [assistant({"type": "text", "text": "<a(" * 300_000})],
    "control characters": [assistant({"type": "text", "text": "\x00\x1b[2J" * 200_000})],
    "thinking": [assistant({"type": "thinking", "thinking": "hm " * 300_000})],
    "prompt": [user(MEGABYTE)],
    "foreign script": [
        user("検索" * 200_000),
        assistant({"type": "text", "text": "بحث " * 200_000}),
    ],
    "tool's name": [assistant({**CALL, "name": MEGABYTE}), user([RESULT])],
}


@pytest.mark.parametrize("detector", sorted(registry.detectors()))
@pytest.mark.parametrize("name", HUGE)
def test_huge_entries_are_judged_and_not_kept(name: str, detector: str) -> None:
    found = registry.detectors()[detector]()
    for entry in entries_of(lines([(record, True, 1) for record in HUGE[name] * 3])):
        assert all(deep_size(verdict) < _A_VERDICT for verdict in found.observe(entry))
    assert deep_size(found) < _A_DETECTOR


SAME = {
    "a call and its result": [assistant(CALL), user([RESULT])],
    "a text": [assistant({"type": "text", "text": "Let me try again."})],
    "a thought": [assistant({"type": "thinking", "thinking": "It should work now."})],
    "a prompt": [user("go on")],
    "a call without a result": [assistant(CALL)],
    "a compaction": [{"type": "system", "subtype": "compact_boundary"}],
    "nothing": [{}],
}


@pytest.mark.parametrize("detector", sorted(registry.detectors()))
@pytest.mark.parametrize("name", SAME)
def test_memory_is_bounded_over_identical_lines(name: str, detector: str) -> None:
    found = registry.detectors()[detector]()
    repeats = 100_000 if name == "a text" else 10_000
    same = list(entries_of(lines([(record, False, 1) for record in SAME[name]])))
    sizes: dict[int, int] = {}
    for number in range(repeats):
        for entry in same:
            deque(found.observe(msgspec.structs.replace(entry, seq=number + 1)), 0)
        if number in {999, repeats - 1}:
            sizes[number] = deep_size(found)
    assert sizes[repeats - 1] <= sizes[999] + 2_048


def entries_of(raws: Sequence[bytes]) -> Iterator[Entry]:
    reader = TranscriptReader("s", SESSION)
    for seq, raw in enumerate(raws, 1):
        yield from reader.read(raw, seq)


WIDE = "🙂" * 3_000
LISTING = {
    "type": "attachment",
    "attachment": {
        "type": "prompt_snapshot",
        "tools": [
            {
                "name": f"mcp__server__{n}_{'n' * 90}",
                "schema": {
                    "input_schema": {
                        "type": "object",
                        "properties": {f"p{n}_{k}": {"type": "string"} for k in range(30)},
                    }
                },
            }
            for n in range(200)
        ],
    },
}


def adversary() -> Iterator[Record]:
    """Says as much as it can of whatever a detector may remember, in wide characters."""
    chance = random.Random(1)

    def words(count: int) -> str:
        return " ".join(f"{chance.getrandbits(40):x}" for _ in range(count))

    yield LISTING
    yield user(" ".join(f"Do not touch `{WIDE[:60]}{n}.py`." for n in range(12)) + WIDE)
    for n in range(240):
        tool = ("Bash", "Read", "WebSearch", "Task", f"tool_{'n' * 100}{n}")[n % 5]
        given = {name: f"{words(60)}{WIDE}" for name in ("command", "query", "prompt")}
        path = {"file_path": WIDE[:300] + str(n % 30), "limit": 5, "offset": n * 10}
        call = {"type": "tool_use", "id": f"t{n}", "name": tool}
        yield assistant({"type": "text", "text": f"1. search {words(9)}\n2. a\n3. b {WIDE}"})
        yield assistant({**call, "input": path if tool == "Read" else {**given, **path}})
        if n % 50 == 0:
            todos = [{"content": WIDE[:300], "status": "pending"} for _ in range(60)]
            yield assistant({**call, "name": "TodoWrite", "id": "t", "input": {"todos": todos}})
        if n < 200:
            text = f"bash: {words(1)}: command not found, 3 failed\n{words(400)}\n{WIDE}"
            yield user([{**RESULT, "tool_use_id": f"t{n}", "content": text, "is_error": n % 2}])


def test_whatever_an_agent_writes_all_detectors_together_hold_little_of_it() -> None:
    together = [kind() for kind in registry.detectors().values()]
    most = 0
    for number, entry in enumerate(entries_of(lines([(one, True, 1) for one in adversary()]))):
        for detector in together:
            deque(detector.observe(entry), 0)
        if number % 20 == 0:
            most = max(most, state_of(together))
    assert most < _TOGETHER_AT_WORST


def test_real_transcripts_take_less_than_64_kib(corpora: Path) -> None:
    for path in sorted((corpora / "claude").glob("*.jsonl.gz")):
        together = [kind() for kind in registry.detectors().values()]
        raws = [raw for raw in gzip.decompress(path.read_bytes()).splitlines() if raw.strip()]
        for number, entry in enumerate(entries_of(raws)):
            for detector in together:
                deque(detector.observe(entry), 0)
            if number % 100 == 0:
                assert state_of(together) < _TOGETHER, path.name
        assert state_of(together) < _TOGETHER, path.name


def state_of(detectors: Sequence[Detector]) -> int:
    """Without the configurations, which all agents and sessions of a policy share."""
    return deep_size(detectors, without=[one.config for one in detectors])
