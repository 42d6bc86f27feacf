"""The API over a real store: pages, redaction, bounds, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Verdict
from supervisor.service.leaving import LONGEST
from supervisor.service.schema import Page, Session, TranscriptEntry
from supervisor.store.interface import Incident
from tests.unit.service.conftest import (
    Running,
    decision,
    incident,
    outcome,
    verdict,
    written,
)

pytestmark = pytest.mark.anyio

KEY = "ghp_0123456789abcdefghijABCDEFGHIJ012345"


def line(number: int, text: str = "hello") -> dict[str, Any]:
    return {"type": "user", "uuid": f"u-{number}", "message": {"role": "user", "content": text}}


async def test_a_process_says_that_it_is_alive(running: Running) -> None:
    status, said = await running.get("/healthz")
    assert (status, said["alive"]) == (200, True)


async def test_readiness_names_what_is_lacking(running: Running) -> None:
    assert await running.get("/readyz") == (200, {"ready": True, "reasons": []})

    running.lacks.append("draining")
    assert await running.get("/readyz") == (503, {"ready": False, "reasons": ["draining"]})

    running.lacks.clear()
    await running.store.close()
    assert await running.get("/readyz") == (
        503,
        {"ready": False, "reasons": ["the store is away"]},
    )


async def test_a_store_that_is_away_is_said_without_its_address(running: Running) -> None:
    await running.store.close()
    for path in ("", "/sdk-1", "/sdk-1/entries", "/sdk-1/verdicts", "/sdk-1/events"):
        status, problem = await running.get(f"/api/v1/sessions{path}")
        assert (status, problem["detail"]) == (503, "the store is away")


async def test_sessions_come_in_pages_the_last_changed_first(running: Running) -> None:
    names = [f"sdk-{number}" for number in range(5)]
    for name in names:
        await written(running.store, [line(1)], name)

    seen: list[str] = []
    path = "/api/v1/sessions?limit=2"
    items, cursor = await running.page(path)
    while True:
        seen += [item["session_id"] for item in items]
        if cursor is None:
            break
        items, cursor = await running.page(f"{path}&cursor={cursor}")

    assert seen == names[::-1]


async def test_a_session_is_shown_without_its_policy(running: Running) -> None:
    await written(running.store, [line(1), line(2)])
    await running.store.update_session("sdk-1", objective=f"Use {KEY}", policy="url: secret")
    await running.store.record(verdict())

    status, said = await running.get("/api/v1/sessions/sdk-1")

    assert status == 200
    shown = msgspec.convert(said, Session)
    assert (shown.entries, shown.verdicts, shown.held_by) == (2, 1, None)
    assert shown.objective == "Use [redacted:github-token]"
    assert "policy" not in said


@pytest.mark.parametrize("tail", ["", "/entries", "/verdicts", "/decisions", "/events"])
@pytest.mark.parametrize("session_id", ["nobody", "%2e%2e%2fetc", "x" * 300, "%00", "%F0%9F%90%8C"])
async def test_an_unknown_session_is_not_found(
    running: Running, session_id: str, tail: str
) -> None:
    status, problem = await running.get(f"/api/v1/sessions/{session_id}{tail}")
    assert (status, problem["status"]) == (404, 404)


async def test_entries_come_in_order_and_go_on_after_a_seq(running: Running) -> None:
    await written(running.store, [line(number) for number in range(1, 6)])

    first, cursor = await running.page("/api/v1/sessions/sdk-1/entries?limit=3")
    rest, end = await running.page(f"/api/v1/sessions/sdk-1/entries?cursor={cursor}")

    assert [item["seq"] for item in first + rest] == [1, 2, 3, 4, 5]
    assert (cursor, end) == ("3", None)
    assert first[0]["raw"] == line(1)
    assert await running.page("/api/v1/sessions/sdk-1/entries?cursor=5") == ([], None)


async def test_secrets_are_taken_out_of_entries_and_stay_in_the_store(running: Running) -> None:
    await written(running.store, [line(1, f"export GITHUB_TOKEN={KEY}")])

    (item,), _ = await running.page("/api/v1/sessions/sdk-1/entries")

    assert KEY not in json.dumps(item)
    assert "[redacted:github-token]" in item["raw"]["message"]["content"]
    (kept,) = [entry async for entry in running.store.entries("sdk-1")]
    assert KEY.encode() in kept.raw


async def test_a_long_string_is_cut_and_no_secret_leaves_by_half(running: Running) -> None:
    filler = "a " * (LONGEST // 2 - 10)
    await written(running.store, [line(1, f"{filler}{KEY} and so on. " + "b" * 1000)])

    (item,), _ = await running.page("/api/v1/sessions/sdk-1/entries")

    content = item["raw"]["message"]["content"]
    assert item["is_cut"]
    assert content.endswith(" more characters]")
    assert len(content) < LONGEST + 50
    assert "ghp_" not in content


@pytest.mark.parametrize(
    "raw", [b"no json", b'{"a": NaN}', b'{"a": "\xff"}', b"[" * 5000, b"\xff\x00"]
)
async def test_a_line_that_is_no_json_leaves_as_text(running: Running, raw: bytes) -> None:
    await written(running.store, [raw])

    (item,), _ = await running.page("/api/v1/sessions/sdk-1/entries")

    assert item["raw"] == raw.decode(errors="replace")


async def test_a_page_of_entries_ends_when_it_is_large(running: Running) -> None:
    await written(running.store, [line(number, "x" * 2_500_000) for number in range(4)])

    items, cursor = await running.page("/api/v1/sessions/sdk-1/entries")

    assert ([item["seq"] for item in items], cursor) == ([1, 2], "2")


@pytest.mark.parametrize(
    ("kind", "type_", "items"),
    [
        ("verdicts", Verdict, [verdict(seq) for seq in (1, 2, 3)]),
        ("decisions", Decision, [decision(seq) for seq in (1, 2, 3)]),
        ("outcomes", Outcome, [outcome(seq) for seq in (1, 2, 3)]),
        ("incidents", Incident, [incident(message=str(number)) for number in (1, 2, 3)]),
    ],
)
async def test_what_was_concluded_comes_in_pages(
    running: Running, kind: str, type_: type[msgspec.Struct], items: list[Any]
) -> None:
    await written(running.store, [line(number) for number in range(1, 5)])
    await running.store.record(*[decision(seq) for seq in (1, 2, 3)], *items)

    first, cursor = await running.page(f"/api/v1/sessions/sdk-1/{kind}?limit=2")
    rest, end = await running.page(f"/api/v1/sessions/sdk-1/{kind}?limit=2&cursor={cursor}")

    assert [msgspec.convert(item, type_) for item in first + rest] == items
    assert end is None


async def test_secrets_are_taken_out_of_what_was_concluded(running: Running) -> None:
    await written(running.store, [line(1)])
    await running.store.record(verdict(summary=f"It prints {KEY}."))

    (item,), _ = await running.page("/api/v1/sessions/sdk-1/verdicts")

    assert item["summary"] == "It prints [redacted:github-token]."


@pytest.mark.parametrize("limit", ["0", "1001", "-1", "x", "", "٣"])
@pytest.mark.parametrize("path", ["", "/sdk-1/entries", "/sdk-1/verdicts"])
async def test_a_limit_that_makes_no_sense_is_refused(
    running: Running, path: str, limit: str
) -> None:
    status, problem = await running.get(f"/api/v1/sessions{path}?limit={limit}")
    assert (status, problem["detail"]) == (400, "'limit' is a number from 1 to 1000")


@pytest.mark.parametrize(
    "cursor",
    ["x", "-1", "1.5", "%00", "W10", "WzEsMl0", "WyIyMDI2LTAxLTAxVDAwOjAwOjAwIiwieCJd", "é"],
)
@pytest.mark.parametrize("path", ["", "/sdk-1/entries", "/sdk-1/verdicts"])
async def test_a_cursor_of_somebodys_own_making_is_refused(
    running: Running, path: str, cursor: str
) -> None:
    await written(running.store, [line(1)])
    status, problem = await running.get(f"/api/v1/sessions{path}?cursor={cursor}")
    assert (status, problem["status"]) == (400, 400)


async def test_every_answer_is_as_documented(running: Running) -> None:
    await written(running.store, [line(1), b"no json"])

    _, sessions = await running.get("/api/v1/sessions")
    _, entries = await running.get("/api/v1/sessions/sdk-1/entries")

    assert msgspec.convert(sessions, Page[Session], strict=False).items[0].session_id == "sdk-1"
    assert len(msgspec.convert(entries, Page[TranscriptEntry]).items) == 2
