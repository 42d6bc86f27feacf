"""A short form of `make chaos`: workers are killed, and others go on with their sessions."""

from __future__ import annotations

import sys

import pytest

from tests.chaos.grid import play_grid
from tests.chaos.plan import CELLS, Cell
from tests.chaos.run import Run, one_run
from tests.postgres import PostgresServer, postgres_server

__all__ = ["postgres_server"]

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc"),
]

ON_SQLITE = [
    Cell("worker", "in-tool", "sqlite"),
    Cell("pod", "after-tool", "sqlite"),
    Cell("pod", "in-subagent", "sqlite"),
    Cell("drain", "before-tool", "sqlite"),
]
ON_POSTGRES = [Cell("worker", "in-output", "postgres"), Cell("drain", "in-subagent", "postgres")]


def whole(run: Run) -> None:
    assert run.is_good, run
    assert run.late_requests <= 1, "one may be under way when the worker dies"


@pytest.mark.parametrize("cell", ON_SQLITE, ids=lambda cell: cell.name)
async def test_no_step_is_lost_and_none_repeated(cell: Cell) -> None:
    whole(await one_run(cell, "a test's"))


@pytest.mark.parametrize("cell", ON_POSTGRES, ids=lambda cell: cell.name)
async def test_nor_on_postgresql(cell: Cell, postgres_server: PostgresServer) -> None:
    (run,) = await play_grid(
        [cell], runs=1, seed="a test's", server=postgres_server, tell=lambda run: None
    )
    whole(run)


def test_the_grid_has_every_cell_once() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS) == 3 * 5 * 2
