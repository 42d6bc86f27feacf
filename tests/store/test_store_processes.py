"""Several processes share a store, and one that is killed loses nothing it was promised."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from claude_agent_sdk import SessionKey

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio

KEY = SessionKey(project_key="p", session_id="s")

WRITER = """
import asyncio, json, sys
from supervisor.store.connect import store_at

async def main(location, name, writes):
    async with store_at(location) as store:
        for number in range(int(writes)):
            raws = [json.dumps({"uuid": f"{name}-{number}-{part}"}).encode() for part in range(3)]
            stored = await store.write({"project_key": "p", "session_id": "s"}, raws)
            print(" ".join(str(entry.seq) for entry in stored), flush=True)

asyncio.run(main(*sys.argv[1:]))
"""


@contextmanager
def _writer(location: str, name: str, writes: int) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WRITER, location, name, str(writes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


async def test_what_write_returned_is_there_after_a_kill(backend: Backend) -> None:
    store = await backend.fresh()
    with _writer(backend.location(store), "w", 1_000_000) as process:
        assert process.stdout is not None
        promised = [process.stdout.readline() for _ in range(50)]
        process.kill()
        promised += process.stdout.readlines()
    seqs = [int(seq) for line in promised if line.endswith("\n") for seq in line.split()]
    entries = [entry async for entry in store.entries("s")]
    assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
    assert seqs == list(range(1, len(seqs) + 1))
    assert 150 <= len(seqs) <= len(entries)
    assert entries[-1].uuid is not None
    assert entries[-1].uuid.endswith("-2"), "a write is there whole or not at all"


async def test_a_killed_writer_holds_nobody_up(backend: Backend) -> None:
    store = await backend.fresh()
    with _writer(backend.location(store), "w", 1_000_000) as process:
        assert process.stdout is not None
        for _ in range(5):
            process.stdout.readline()
        process.kill()
    (entry,) = await store.write(KEY, [b'{"uuid":"next"}'])
    assert [found.seq async for found in store.entries("s")][-1] == entry.seq


async def test_processes_that_write_at_once_share_one_numbering(backend: Backend) -> None:
    own: list[int] = []
    store = await backend.fresh()
    with _writer(backend.location(store), "other", 40) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        for number in range(40):
            raw = json.dumps({"uuid": f"own-{number}"}).encode()
            own += [entry.seq for entry in await store.write(KEY, [raw])]
        others = [int(seq) for line in (first, *process.stdout) for seq in line.split()]
    assert sorted(own + others) == list(range(1, 161))
