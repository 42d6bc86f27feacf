"""`lucid gauntlet`: failing agents alone, tried again blindly, and supervised."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import columns, say
from supervisor.cli.shared import fail, reporting

if TYPE_CHECKING:
    from supervisor.eval.tables import Table
    from supervisor.gauntlet.suite import Outcome

__all__ = ["gauntlet"]

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--only",
    "patterns",
    multiple=True,
    metavar="P",
    help="Only scenarios whose name fits the pattern, such as 'loop-*'. May be given again.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=2,
    show_default=True,
    metavar="N",
    help="How many agents run at a time.",
)
@click.option(
    "--policy",
    metavar="F",
    help="A policy to try out in place of those that the scenarios name.",
)
@click.option("--json", "as_json", type=_FILE, metavar="F", help="Also write all figures here.")
@click.option(
    "--markdown",
    type=_FILE,
    metavar="F",
    help="Also bring the tables in this Markdown page up to date.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="D",
    help="Keep every agent's folder and store below this new folder.",
)
@click.option("--list", "listing", is_flag=True, help="Name the scenarios and run none.")
@reporting
async def gauntlet(
    patterns: tuple[str, ...],
    jobs: int,
    policy: str | None,
    as_json: Path | None,
    markdown: Path | None,
    keep: Path | None,
    listing: bool,
) -> int:
    """Run agents that fail, and some that only look so, in three ways: alone, tried again
    blindly as a workflow engine would, and supervised by Lucid. Offline and without a key.

    The agents are the real Claude Code on a scripted model, which reacts to what is in its
    context and to nothing else. Exits with 0 where supervision finishes at least 95 % of
    what can be recovered, and leaves alone what is healthy.
    """
    from supervisor.gauntlet.report import is_met, tables
    from supervisor.gauntlet.suite import run_trials
    from supervisor.gauntlet.trial import find_trials

    trials = find_trials(patterns)
    if listing:
        for line in columns([(name, one.kind, one.title) for name, one in trials.items()]):
            say(line)
        return Exit.REACHED
    if markdown is not None:
        _check_place(markdown)
    with _place(keep) as folder:
        outcomes = await run_trials(trials, folder, jobs=jobs, policy=policy, when_done=_tell)
    for table in tables(outcomes):
        _print(table)
    _write(outcomes, as_json, markdown)
    if not is_met(outcomes):
        return fail("the bar is not met", Exit.GAVE_UP)
    return Exit.REACHED


@contextmanager
def _place(keep: Path | None) -> Iterator[Path]:
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    name = "lucid-gauntlet-"
    with tempfile.TemporaryDirectory(prefix=name, ignore_cleanup_errors=True) as folder:
        yield Path(folder).resolve()


def _print(table: Table) -> None:
    say(f"\n{table.title}")
    right = frozenset(range(table.words, len(table.headings)))
    for line in columns([table.headings, *table.rows], right=right):
        say(line)


def _tell(outcome: Outcome) -> None:
    from supervisor.gauntlet.report import told

    say(told(outcome))


def _check_place(page: Path) -> None:
    """Minutes of work are not to end in a page that has no place for them."""
    from supervisor.eval.markdown import put_into
    from supervisor.gauntlet.report import MARK

    put_into(page.read_text(encoding="utf-8"), "", MARK)


def _write(outcomes: list[Outcome], as_json: Path | None, markdown: Path | None) -> None:
    from supervisor.eval.markdown import as_markdown, put_into
    from supervisor.gauntlet.report import MARK, figures, tables

    if as_json is not None:
        as_json.write_text(json.dumps(figures(outcomes), indent=1) + "\n", encoding="utf-8")
    if markdown is not None:
        page = markdown.read_text(encoding="utf-8")
        markdown.write_text(put_into(page, as_markdown(tables(outcomes)), MARK), encoding="utf-8")
