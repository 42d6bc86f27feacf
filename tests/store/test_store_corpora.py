"""Real transcripts go in and come back as they were, every line of them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from claude_agent_sdk import SessionKey

from supervisor.store.interface import Store

pytestmark = pytest.mark.anyio


def _transcripts(corpora: Path) -> list[tuple[str, list[bytes]]]:
    files = sorted((corpora / "claude").glob("*.jsonl.gz"))
    return [
        (file.name, [raw for raw in gzip.decompress(file.read_bytes()).split(b"\n") if raw.strip()])
        for file in files
    ]


def _objects(raws: list[bytes]) -> list[object]:
    found = []
    for raw in raws:
        try:
            found.append(json.loads(raw))
        except ValueError:
            continue
    return found


async def test_every_line_is_kept_verbatim(corpora: Path, store: Store) -> None:
    lines = 0
    for name, raws in _transcripts(corpora):
        key = SessionKey(project_key="written", session_id=name)
        written = await store.write(key, raws)
        assert [entry.raw for entry in written] == raws, name
        assert [entry.raw async for entry in store.entries(name)] == raws, name
        assert await store.load(key) == _objects(raws), name
        lines += len(raws)
    assert lines == sum(row.entries for row in await store.sessions(limit=1_000))


async def test_what_the_sdk_appends_it_loads_again(corpora: Path, store: Store) -> None:
    for name, raws in _transcripts(corpora)[::5]:
        key = SessionKey(project_key="appended", session_id=name)
        entries = _objects(raws)
        await store.append(key, entries)  # type: ignore[arg-type] # plain dicts
        assert await store.load(key) == entries, name
