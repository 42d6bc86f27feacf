"""Plays the chaos, prints its figures, and writes those of a whole run to `chaos.json`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.chaos.grid import COLUMNS, figures_of, is_met, play_grid
from tests.chaos.losses import LOSSES, Loss, play_losses
from tests.chaos.plan import CELLS, Cell
from tests.chaos.rows import Told, play_rows
from tests.chaos.run import Run
from tests.fixtures.interruptions.stories import STORIES
from tests.postgres import PostgresServer, running_server

ROOT = Path(__file__).resolve().parents[2]

_PARTS = ("grid", "rows", "losses")
_WORDS = {
    *_PARTS,
    *STORIES,
    *LOSSES,
    *(word for cell in CELLS for word in (cell.kill, cell.phase, cell.store)),
}
_LOSS_RUNS = 0.5
"""Of those of a cell."""


def main(arguments: Sequence[str]) -> int:
    """Play what is asked for; returns the exit code."""
    asked = _parsed(arguments)
    only = frozenset(asked.only)
    began = time.monotonic()
    with _server() as server:
        cells = [cell for cell in CELLS if _is_wanted(cell, only)]
        grid = _grid(cells if server is not None else _without_server(cells), asked, server)
        told = asyncio.run(play_rows(_chosen(STORIES, "rows", only)))
        losses = asyncio.run(
            play_losses(
                _chosen(LOSSES, "losses", only),
                server,
                runs=max(1, round(asked.runs * _LOSS_RUNS)),
                seed=asked.seed,
            )
        )
    _print_grid(grid)
    _print_rows(told)
    _print_losses(losses)
    figures = {
        "seed": asked.seed,
        "seconds": round(time.monotonic() - began),
        "grid": grid,
        "rows": [each.figures for each in told],
        "losses": [each.figures for each in losses],
    }
    if not only:
        (ROOT / "chaos.json").write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return _conclusion(grid, told, losses, figures["seconds"])


def _parsed(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("python -m tests.chaos", description=__doc__)
    parser.add_argument("--runs", type=int, default=10, help="of each cell of the grid")
    parser.add_argument("--seed", default="1", help="what chance goes by")
    parser.add_argument(
        "--only", nargs="+", default=[], choices=sorted(_WORDS), metavar="WORD", help=_ONLY
    )
    return parser.parse_args(arguments)


_ONLY = "grid, rows, losses; a kind of kill, a phase, a store; the name of a story or a loss"


@contextmanager
def _server() -> Iterator[PostgresServer | None]:
    """A PostgreSQL server; under `CI=true` it has to be there."""
    try:
        with running_server() as server:
            yield server
    except LookupError as missing:
        if os.environ.get("CI") == "true":
            raise SystemExit(str(missing)) from None
        print(f"Going on without PostgreSQL: {missing}")
        yield None


def _without_server(cells: Sequence[Cell]) -> list[Cell]:
    return [cell for cell in cells if cell.store != "postgres"]


def _is_wanted(cell: Cell, only: frozenset[str]) -> bool:
    """Every word for cells that is given, and at least one, unless no words are."""
    own = {cell.kill, cell.phase, cell.store}
    words = {word for each in CELLS for word in (each.kill, each.phase, each.store)}
    if not only or ("grid" in only and not only & words):
        return True
    kinds = ({c.kill for c in CELLS}, {c.phase for c in CELLS}, {c.store for c in CELLS})
    return bool(only & words) and all(not only & kind or only & kind & own for kind in kinds)


def _chosen(names: Sequence[str] | dict[str, Any], part: str, only: frozenset[str]) -> list[str]:
    if not only or part in only:
        return list(names)
    return [name for name in names if name in only]


def _grid(
    cells: Sequence[Cell], asked: argparse.Namespace, server: PostgresServer | None
) -> list[dict[str, Any]]:
    total, done = len(cells) * asked.runs, 0

    def tell(run: Run) -> None:
        nonlocal done
        done += 1
        said = "ok" if run.is_good else f"NOT GOOD {run}"
        print(f"{done}/{total} {run.cell.name} {run.seed} {run.cause}: {said}", flush=True)

    played = asyncio.run(
        play_grid(cells, runs=asked.runs, seed=asked.seed, server=server, tell=tell)
    )
    return [figures_of(cell, [run for run in played if run.cell == cell]) for cell in cells]


def _print_grid(grid: Sequence[dict[str, Any]]) -> None:
    if not grid:
        return
    print(f"\n{'kill':<8}{'phase':<13}{'store':<10}" + "".join(f"{_head(c):>11}" for c in COLUMNS))
    for row in grid:
        place = f"{row['kill']:<8}{row['phase']:<13}{row['store']:<10}"
        print(place + "".join(f"{_said(row[column]):>11}" for column in COLUMNS))


def _head(column: str) -> str:
    return column.split("_")[0]


def _said(value: object) -> str:
    return "-" if value is None else str(value)


def _print_rows(told: Sequence[Told]) -> None:
    if told:
        print(f"\n{'story':<44}{'cause':<24}{'go on':<11}{'prompt':>7}{'ok':>5}")
    for each in told:
        sent, ok = _said(each.prompt_sent), "yes" if each.ok else "NO"
        print(f"{each.story:<44}{each.cause:<24}{each.go_on:<11}{sent:>7}{ok:>5}")


def _print_losses(losses: Sequence[Loss]) -> None:
    if losses:
        print(f"\n{'loss':<22}{'away':>7}{'noticed':>9}{'ok':>5}")
    for each in losses:
        ok = "-" if each.skipped else "yes" if each.ok else "NO"
        print(f"{each.loss:<22}{each.away_seconds:>7.1f}{each.noticed:>9}{ok:>5}  {each.skipped}")


def _conclusion(
    grid: Sequence[dict[str, Any]], told: Sequence[Told], losses: Sequence[Loss], seconds: int
) -> int:
    missed = [f"{row['kill']}/{row['phase']}/{row['store']}" for row in grid if not is_met(row)]
    missed += [each.story for each in told if not each.ok]
    missed += [each.loss for each in losses if not (each.ok or each.skipped)]
    runs = sum(row["runs"] for row in grid)
    what = f"{runs} kills, {len(told)} stories, {len(losses)} losses in {seconds} s"
    if missed:
        print(f"\n{what}: NOT all bars are met: {', '.join(dict.fromkeys(missed))}")
        return 1
    skipped = sum(bool(each.skipped) for each in losses)
    print(f"\n{what}: all bars are met" + (f", {skipped} losses skipped" if skipped else ""))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
