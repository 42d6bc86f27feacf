"""The store is lost in the middle of a run, and comes back: PostgreSQL is restarted, or the
disk that SQLite is on is full for a while.

Nothing may be lost: every entry of the transcript that the agent wrote to its own disk is in
the store in the end, in order, to the byte, and every call's intent. Nothing may be doubled:
neither entries nor what the calls did.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from supervisor.core.session import SessionState
from supervisor.errors import StoreError
from supervisor.runtime.fork import local_transcript
from supervisor.runtime.runner import OPEN
from supervisor.store.codec import identify
from supervisor.store.connect import store_at
from supervisor.store.interface import SessionRow, Store
from supervisor.testing import ScriptedModel
from tests.chaos.hosts import Host
from tests.chaos.run import WorkerGone, new_folder, submitted, until
from tests.chaos.story import Story
from tests.postgres import PostgresServer

__all__ = ["LOSSES", "Loss", "play_losses"]

LIMIT_SECONDS = 90.0
_STEPS = 6
_POLL_SECONDS = 0.1

Lose = Callable[[], Awaitable[None]]
"""Takes the store away; returns once it is back."""


@dataclass
class Loss:
    """What came of one run in which the store was lost."""

    loss: str
    seed: str
    away_seconds: float = 0.0
    reached: bool = False
    noticed: int = 0
    """Incidents in the session that say that the store was away."""
    entries_lost: int = 0
    entries_doubled: int = 0
    intents_lost: int = 0
    repeated: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    skipped: str = ""
    why_not: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing was lost and nothing doubled."""
        entries = self.entries_lost or self.entries_doubled or self.intents_lost
        return self.reached and not (entries or self.repeated or self.lost)

    @property
    def figures(self) -> dict[str, Any]:
        """As it is written down."""
        return {**asdict(self), "ok": self.ok}


async def play_losses(
    names: Sequence[str], server: PostgresServer | None, *, runs: int, seed: str
) -> list[Loss]:
    """Play each of them so often, one after the other: the server is everybody's."""
    played = []
    for name in names:
        for number in range(runs):
            loss = Loss(name, f"{seed}/{number}")
            try:
                async with asyncio.timeout(LIMIT_SECONDS):
                    await LOSSES[name](loss, server)
            except (TimeoutError, WorkerGone) as error:
                loss.why_not = f"{type(error).__name__} {error}; {loss.why_not}"
            said = "ok" if loss.ok else loss.skipped or f"NOT GOOD {loss}"
            print(f"{loss.loss} {loss.seed}: noticed {loss.noticed}, {said}", flush=True)
            played.append(loss)
    return played


async def _postgres_restarted(loss: Loss, server: PostgresServer | None) -> None:
    """Crashed (SIGQUIT) or stopped in order, and started again after a while."""
    if server is None:
        loss.skipped = "PostgreSQL is not installed"
        return
    chance = Random(f"{loss.loss}/{loss.seed}")
    how = chance.choice((signal.SIGQUIT, signal.SIGINT))
    # Short ones the connections ride out by themselves, the others take the spool.
    loss.away_seconds = chance.choice((0.0, 2.0, 8.0))

    async def lose() -> None:
        await asyncio.to_thread(server.stop, how)
        await asyncio.sleep(loss.away_seconds)
        await asyncio.to_thread(server.start)

    database = server.database()
    address = await asyncio.to_thread(database.__enter__)
    try:
        with new_folder() as folder:
            await _play(loss, chance, folder, address, lose)
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


async def _disk_full(loss: Loss, server: PostgresServer | None) -> None:
    """A small disk of its own for the database, with no room left for a while."""
    chance = Random(f"{loss.loss}/{loss.seed}")
    loss.away_seconds = chance.uniform(1.0, 2.5)
    with new_folder() as folder, _small_disk(folder / "disk") as disk:
        if disk is None:
            loss.skipped = "only root may mount a small disk"
            return

        async def lose() -> None:
            ballast = disk / "ballast"
            with ballast.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(4096))
            await asyncio.sleep(loss.away_seconds)
            ballast.unlink()

        await _play(loss, chance, folder, str(disk / "lucid.db"), lose)


@contextmanager
def _small_disk(place: Path) -> Iterator[Path | None]:
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


LOSSES: dict[str, Callable[[Loss, PostgresServer | None], Awaitable[None]]] = {
    "postgres-restarted": _postgres_restarted,
    "disk-full": _disk_full,
}


async def _play(loss: Loss, chance: Random, folder: Path, where: str, lose: Lose) -> None:
    shared = folder / "shared"
    shared.mkdir()
    waits = (chance.uniform(0.02, 0.2), chance.uniform(0.02, 0.2))
    story = Story.in_folder(shared, steps=_STEPS, waits=waits)
    async with ScriptedModel(story) as model:
        host = Host(folder / "host", where, model)
        async with store_at(where) as store:
            row = await submitted(store, host.work)
        async with host.worker() as worker:
            await until((shared / f"began-{chance.randint(1, 3)}").exists, worker)
            await asyncio.sleep(chance.uniform(0.0, 0.5))
            await lose()
            async with store_at(where) as store:
                row = await _over(store, row.session_id, worker)
                loss.reached = row.state is SessionState.REACHED
                if not loss.reached:
                    loss.why_not = f"{row.state} {row.state_reason}: {host.said[-400:]}"
                await host.killed(worker, "drain")
                await _compare(loss, store, row, model.env(host.home))
    counts = Counter(story.log)
    loss.repeated = [step for step, count in counts.items() if count > 1]
    loss.lost = [step for step in range(1, _STEPS + 1) if not counts[step]]


async def _over(store: Store, session_id: str, worker: asyncio.subprocess.Process) -> SessionRow:
    while True:
        with suppress(StoreError):
            row = await store.session(session_id)
            if row.state not in OPEN or worker.returncode is not None:
                return row
        await asyncio.sleep(_POLL_SECONDS)


async def _compare(loss: Loss, store: Store, row: SessionRow, env: dict[str, str]) -> None:
    """What the agent wrote to its own disk with what the store has."""
    entries = [entry async for entry in store.entries(row.session_id)]
    kept = [entry.raw for entry in entries if entry.uuid]
    local = local_transcript(row.project_key, row.head or row.session_id, env)
    lines = [line.encode() for line in local.read_text().splitlines()]
    written = [line for line in lines if identify(line).uuid]
    loss.entries_lost = len(set(written) - set(kept))
    loss.entries_doubled = len(kept) - len(set(kept))
    if kept != written and not (loss.entries_lost or loss.entries_doubled):
        loss.why_not = "the entries are not in the order in which they were written"
        loss.entries_lost = len(written)
    loss.intents_lost = max(0, _STEPS - len(await store.intents(row.session_id)))
    incidents = await store.incidents(row.session_id)
    loss.noticed = sum("is back after" in incident.message for incident in incidents)
