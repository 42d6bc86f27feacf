"""The sidecar's process of the benchmark `following`: it prints what it took.

Started with a store's file and a folder. It says `ready`, and when its input ends prints the
times at which verdicts came, and the most memory it took.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from supervisor.core.verdict import Verdict
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.settings import Settings
from supervisor.sidecar.sidecar import Sidecar
from supervisor.store.sqlite import SqliteStore

__all__ = ["Found"]

Found = tuple[str, int, float]
"""A verdict's session and entry, and when it was told, in seconds since 1970."""


async def _main(database: Path, folder: Path) -> None:
    policy = load_policy("default", detectors=registry.detectors(), actions=registry.actions())
    found: list[Found] = []
    async with SqliteStore(database) as store:
        sidecar = Sidecar(store=store, folders=[folder], policy=policy, settings=Settings())
        async with sidecar:
            while sidecar.not_ready():  # noqa: ASYNC110 - there is no event for it
                await asyncio.sleep(0.05)
            listening = asyncio.create_task(_listen(sidecar, found))
            print("ready", flush=True)
            await asyncio.to_thread(sys.stdin.read)
            listening.cancel()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    told = {"found": found, "rss_kb": usage.ru_maxrss, "cpu_s": usage.ru_utime + usage.ru_stime}
    print(json.dumps(told), flush=True)


async def _listen(sidecar: Sidecar, found: list[Found]) -> None:
    async for event in sidecar.events():
        if isinstance(event, Verdict):
            found.append((event.session_id, event.seq, time.time()))


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1]), Path(sys.argv[2])))
