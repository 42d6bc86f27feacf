"""Whatever is asked, the answer is one of the documented ones."""

from __future__ import annotations

import asyncio
import json
from typing import Any
from urllib.parse import quote

from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.privacy.redaction import Redactor
from supervisor.service.app import create_app
from supervisor.service.leaving import Leaving
from supervisor.service.readiness import Readiness
from supervisor.service.service import Service
from supervisor.store.sqlite import SqliteStore
from tests.unit.service.conftest import TOKEN, Answers, written

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
FIELDS = ("hook_event_name", "session_id", "transcript_path", "tool_input", "tool_use_id", "cwd")
BODIES = st.binary() | st.dictionaries(st.sampled_from(FIELDS), JSON).map(
    lambda hook: json.dumps(hook).encode()
)
LISTS = ("", "/sdk-1", "/sdk-1/entries", "/sdk-1/verdicts", "/sdk-1/decisions", "/sdk-1/incidents")


async def asked(method: str, path: str, query: str = "", body: bytes = b"") -> tuple[int, Any]:
    """One request to a service of its own, as uvicorn would pass it on."""
    sent: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request", "body": body, "more_body": False}

    async with SqliteStore() as store:
        await written(store, [{"type": "user", "uuid": "u-1"}])
        service = Service(
            store=store,
            readiness=Readiness(store, lambda: ()),
            leaving=Leaving(Redactor()),
            window=Answers(),
        )
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": quote(path).encode(),
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost"), (b"authorization", f"Bearer {TOKEN}".encode())],
        }
        await create_app(service, token=TOKEN)(scope, receive, send)
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


@settings(max_examples=150, deadline=None)
@given(body=BODIES)
def test_any_body_is_a_hook_or_refused(body: bytes) -> None:
    status, said = asyncio.run(asked("POST", "/hooks", body=body))
    assert (status, said) == (200, {}) or (status == 400 and said["status"] == 400)


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(LISTS), limit=st.none() | st.text(), cursor=st.none() | st.text())
def test_any_page_is_one_or_refused(path: str, limit: str | None, cursor: str | None) -> None:
    query = "&".join(
        f"{name}={quote(value, errors='replace')}"
        for name, value in (("limit", limit), ("cursor", cursor))
        if value is not None
    )
    status, said = asyncio.run(asked("GET", f"/api/v1/sessions{path}", query))
    assert status == 200 or (status == 400 and said["detail"])


@settings(max_examples=150, deadline=None)
@given(tail=st.text(max_size=300))
def test_any_path_is_found_or_not(tail: str) -> None:
    status, _ = asyncio.run(asked("GET", f"/api/v1/sessions/{tail}"))
    assert status in {200, 404}
