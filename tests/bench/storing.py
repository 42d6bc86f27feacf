"""What one transcript entry costs with the store, a file that is synced at every commit.

- `store_write_us`: median of writing one entry, durable when it returns
- `ingest_entry_us`: median of the whole way of one entry: written, judged by all
  detectors, decided on under the default policy
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter_ns

from claude_agent_sdk import SessionKey

from supervisor.core.action import Capability
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.runtime.supervision import Supervision
from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore
from tests.bench.workload import SESSION, lines

_ENTRIES = 1_000
_WARM_UP = 100
_KEY = SessionKey(project_key="-home-user-app", session_id=SESSION)


def measure() -> dict[str, float]:
    """See the module."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, float]:
    figures: dict[str, float] = {}
    for name, ingest in (("store_write_us", _writing), ("ingest_entry_us", _supervising)):
        with tempfile.TemporaryDirectory() as folder:
            async with SqliteStore(Path(folder) / "bench.db") as store:
                figures[name] = median(await _times_us(await ingest(store)))
    return figures


async def _times_us(ingest: Callable[[bytes], Awaitable[object]]) -> list[float]:
    times: list[float] = []
    for raw in lines(_WARM_UP + _ENTRIES):
        began = perf_counter_ns()
        await ingest(raw)
        times.append((perf_counter_ns() - began) / 1_000)
    return times[_WARM_UP:]


async def _writing(store: Store) -> Callable[[bytes], Awaitable[object]]:
    return lambda raw: store.write(_KEY, [raw])


async def _supervising(store: Store) -> Callable[[bytes], Awaitable[object]]:
    await store.create_session("s", project_key=_KEY["project_key"])
    supervision = Supervision(
        session_id="s",
        store=store,
        policy=load_policy("default", detectors=registry.detectors(), actions=registry.actions()),
        capabilities=lambda agent_id: frozenset(Capability),
        act=lambda decision: None,
        tell=lambda event: None,
    )
    return lambda raw: supervision.take(_KEY, [raw])
