"""The kill grid: every cell some times over, as many at once as there are processors."""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from statistics import median
from typing import Any

from tests.chaos.plan import Cell
from tests.chaos.run import Run, one_run
from tests.postgres import PostgresServer

__all__ = ["COLUMNS", "figures_of", "is_met", "play_grid"]

COLUMNS = (
    "runs",
    "resumed",
    "invisible_intents",
    "repeated",
    "lost",
    "orphans",
    "late_requests",
    "resume_seconds_p50",
)


async def play_grid(
    cells: Sequence[Cell],
    *,
    runs: int,
    seed: str,
    server: PostgresServer | None,
    tell: Callable[[Run], None],
) -> list[Run]:
    """Play each cell so often; `tell` hears of each run as it is over."""
    at_once = asyncio.Semaphore(os.cpu_count() or 1)

    async def play(cell: Cell, number: int) -> Run:
        async with at_once, _database(cell, server) as store:
            run = await one_run(cell, f"{seed}/{number}", store)
        tell(run)
        return run

    # Cell by cell in turn: a run that is broken off has something of each.
    return await asyncio.gather(*(play(cell, n) for n in range(runs) for cell in cells))


@asynccontextmanager
async def _database(cell: Cell, server: PostgresServer | None) -> AsyncIterator[str | None]:
    if cell.store == "sqlite":
        yield None
        return
    if server is None:
        raise LookupError(f"{cell.name} needs PostgreSQL: make postgres")
    database = server.database()
    address = await asyncio.to_thread(database.__enter__)
    try:
        yield address
    finally:
        await asyncio.to_thread(database.__exit__, None, None, None)


def figures_of(cell: Cell, runs: Sequence[Run]) -> dict[str, Any]:
    """What came of a cell's runs."""
    waits = [run.resume_seconds for run in runs if run.resume_seconds is not None]
    return {
        "kill": cell.kill,
        "phase": cell.phase,
        "store": cell.store,
        "runs": len(runs),
        "resumed": sum(run.resumed for run in runs),
        "invisible_intents": sum(len(run.invisible) for run in runs),
        "repeated": sum(len(run.repeated) for run in runs),
        "lost": sum(len(run.lost) for run in runs),
        "orphans": sum(len(run.orphans) for run in runs),
        "late_requests": sum(run.late_requests for run in runs),
        "resume_seconds_p50": round(median(waits), 2) if waits else None,
        "prompts_sent_twice": sum(run.prompts not in (None, 1) for run in runs),
        "causes": dict(Counter(run.cause or "over before" for run in runs).most_common()),
    }


def is_met(figures: dict[str, Any]) -> bool:
    """Whether a cell meets every bar."""
    bars = ("invisible_intents", "repeated", "lost", "orphans", "prompts_sent_twice")
    return figures["resumed"] == figures["runs"] and not any(figures[bar] for bar in bars)
