"""What a long session costs the store: 100,000 entries, about 250 MB, in a SQLite file.

- `long_append_us`: per entry, of appending 100 at a time as the SDK mirrors them, to a
  session that has 100,000
- `long_append_ratio`: that over the same for a session that has 1,000; a cost that does not
  grow with the session's length is about 1
- `long_read_us`, `long_read_ratio`: likewise, of reading all entries in order
- `long_load_us`, `long_load_ratio`: likewise, of the list that the SDK resumes from
- `long_list_ms`: of listing sessions and those that a worker may take, median
- `long_read_peak_mb`: by how much reading all of them makes a process grow at the most
- `long_load_peak_mb`: likewise, for that list; the SDK wants it whole
- `long_prune_s`: of deleting the session
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from concurrent.futures import ProcessPoolExecutor
from datetime import timedelta
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from statistics import median
from time import perf_counter

from claude_agent_sdk import SessionKey

from supervisor.store.codec import decode
from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore
from tests.bench.workload import SESSION, endless_lines

_LONG = 100_000
_SHORT = 1_000
_BATCH = 100
_ROUNDS = 31
_READINGS = 3
_KEY = SessionKey(project_key="-home-user-app", session_id=SESSION)

Reading = Callable[[Store], Awaitable[None]]


def measure() -> dict[str, float]:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        return asyncio.run(_measure(Path(name)))


async def _measure(folder: Path) -> dict[str, float]:
    figures: dict[str, float] = {}
    path = folder / "long.db"
    async with SqliteStore(path) as long, SqliteStore(folder / "short.db") as short:
        few, many = _Growing(short), _Growing(long)
        await few.append(_SHORT // _BATCH)
        await many.append(_LONG // _BATCH)
        pairs = [(await few.append(1), await many.append(1)) for _ in range(_ROUNDS)]
        figures |= _compared("append", [(one / _BATCH, other / _BATCH) for one, other in pairs])
        for name, read in (("read", _read), ("load", _load)):
            times = [await _both(few, many, read) for _ in range(_READINGS)]
            figures |= _compared(name, times)
            figures[f"long_{name}_peak_mb"] = _growth_mb(path, read)
        figures["long_list_ms"] = await _listing(long) * 1e3
        figures["long_prune_s"] = await _seconds(long, _delete)
    return figures


class _Growing:
    """A store with one session, which grows."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.size = 0
        self._lines = endless_lines()

    async def append(self, batches: int) -> float:
        """Append so many batches; returns the seconds that it took."""
        total = 0.0
        for _ in range(batches):
            entries = [entry for raw in islice(self._lines, _BATCH) if (entry := decode(raw))]
            began = perf_counter()
            await self.store.append(_KEY, entries)
            total += perf_counter() - began
            self.size += _BATCH
        return total


def _compared(name: str, pairs: list[tuple[float, float]]) -> dict[str, float]:
    """Of seconds for each entry in a short session and in a long one, taken in turn."""
    return {
        f"long_{name}_us": median(many for _, many in pairs) * 1e6,
        f"long_{name}_ratio": median(many / few for few, many in pairs),
    }


async def _both(few: _Growing, many: _Growing, read: Reading) -> tuple[float, float]:
    return (
        median([await _seconds(few.store, read) for _ in range(5)]) / few.size,
        await _seconds(many.store, read) / many.size,
    )


async def _seconds(store: Store, work: Reading) -> float:
    began = perf_counter()
    await work(store)
    return perf_counter() - began


async def _read(store: Store) -> None:
    async for _ in store.entries(SESSION):
        pass


async def _load(store: Store) -> None:
    await store.load(_KEY)


async def _delete(store: Store) -> None:
    lease = await store.acquire_lease(SESSION, owner="bench", ttl=timedelta(minutes=1))
    await store.delete_session(lease)


async def _listing(store: Store) -> float:
    times: list[float] = []
    for _ in range(20):
        began = perf_counter()
        await store.sessions()
        await store.runnable(10)
        times.append(perf_counter() - began)
    return median(times)


def _growth_mb(path: Path, read: Reading) -> float:
    """In a process of its own: the most that one ever held is all that the system tells."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_growth, path, read).result()


def _growth(path: Path, read: Reading) -> float:
    return asyncio.run(_growth_in(path, read))


async def _growth_in(path: Path, read: Reading) -> float:
    async with SqliteStore(path) as store:
        before = _most_mb()
        await read(store)
        return _most_mb() - before


def _most_mb() -> float:
    """The most memory that this process held so far, where the system says so."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmHWM")), 0.0)
