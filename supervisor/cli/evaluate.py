"""`lucid eval`: how good the detectors are, on labelled traces."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import columns, say, say_json
from supervisor.cli.shared import reporting

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from supervisor.core.verdict import FailureMode
    from supervisor.eval.score import Report
    from supervisor.eval.stream import Bench, Run
    from supervisor.eval.tables import Table

__all__ = ["eval", "evaluate"]


@click.command("eval")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--policy",
    default="default",
    metavar="F",
    show_default=True,
    help="The policy that says when a verdict leads to an intervention.",
)
@click.option(
    "--at",
    "threshold",
    type=click.FloatRange(0, 1),
    metavar="C",
    help="Count every verdict from this confidence on as an intervention, whatever the policy.",
)
@click.option("--mode", "modes", multiple=True, metavar="M", help="Only these failure modes.")
@click.option(
    "--show",
    type=click.Choice(["misses", "false", "confidences"]),
    help="List every missed failure, every false intervention, or how often findings of each "
    "kind were right, instead of the figures.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, for machines.")
@click.option(
    "--html",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Also write a report with plots and the evidence into this file.",
)
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Also bring the figures in this Markdown page up to date.",
)
@reporting
async def evaluate(
    paths: tuple[Path, ...],
    policy: str,
    threshold: float | None,
    modes: tuple[str, ...],
    show: str | None,
    as_json: bool,
    html: Path | None,
    markdown: Path | None,
) -> int:
    """Stream the labelled traces in PATHS (files, or folders of them) through the
    detectors and tell what they catch, where, how late, and how often they cry wolf.

    Traces are *.jsonl or *.jsonl.gz with one normalised trace a line, *.json.gz with a
    list of loop cases, or Claude Code transcripts.
    """
    from supervisor.eval.figures import figures
    from supervisor.eval.score import Report

    wanted = _modes(modes)
    runs = _runs(paths, _bench(policy, threshold, wanted, html is not None))
    report = Report(runs, wanted)
    _write(html, markdown, report, _threshold(policy, threshold))
    if show is not None:
        _list(show, report)
    elif as_json:
        say_json(figures(report))
    else:
        _print(report)
    return Exit.REACHED


eval = evaluate  # commands are found by their name; the built-in one is not used here


def _modes(names: tuple[str, ...]) -> frozenset[FailureMode]:
    from supervisor.core.verdict import FailureMode
    from supervisor.eval.truth import CLASSES

    unknown = [name for name in names if name not in CLASSES]
    if unknown:
        known = ", ".join(CLASSES)
        raise click.UsageError(f"no failure mode {unknown[0]!r}: there are {known}")
    if not names:
        return frozenset(FailureMode)
    return frozenset(mode for name in names for mode in CLASSES[name])


def _bench(
    policy: str, threshold: float | None, modes: frozenset[FailureMode], quoting: bool
) -> Bench:
    from supervisor.eval.stream import Bench
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    detectors = registry.detectors()
    loaded = load_policy(policy, detectors=detectors, actions=registry.actions())
    wanted = {name: kind for name, kind in detectors.items() if kind.failure_mode in modes}
    return Bench(wanted, loaded, threshold=threshold, quoting=quoting)


def _runs(paths: tuple[Path, ...], bench: Bench) -> list[Run]:
    from supervisor.errors import TranscriptError
    from supervisor.eval.corpora import Fault, read_corpora

    runs: list[Run] = []
    for item in read_corpora(paths):
        if isinstance(item, Fault):
            say(f"lucid: {item}; it is left out", err=True)
            continue
        run = bench.run(item)
        for trouble in run.troubles:
            if trouble.source != "ingest":
                say(f"lucid: {item.place}: {trouble.source}: {trouble.message}", err=True)
        runs.append(run)
    if not runs:
        places = ", ".join(str(path) for path in paths)
        raise TranscriptError(f"no trace could be read in {places}")
    return runs


def _threshold(policy: str, confidence: float | None) -> str:
    if confidence is None:
        return f"the policy {policy}"
    return f"a rule for every confidence from {confidence:g} on"


def _write(html: Path | None, markdown: Path | None, report: Report, threshold: str) -> None:
    from supervisor.errors import TranscriptError
    from supervisor.eval.markdown import written_into
    from supervisor.eval.page.report import render

    try:
        if html is not None:
            html.write_text(render(report, threshold), encoding="utf-8")
        if markdown is not None:
            page = markdown.read_text(encoding="utf-8")
            markdown.write_text(written_into(page, report), encoding="utf-8")
    except OSError as error:
        raise TranscriptError(f"{error.filename} cannot be written: {error.strerror}") from error


def _list(what: str, report: Report) -> None:
    from supervisor.eval.listing import confidences, false_alarms, misses

    lists = {"misses": misses, "false": false_alarms, "confidences": confidences}
    for line in lists[what](report):
        say(line)


def _print(report: Report) -> None:
    from supervisor.cli.terminal import console
    from supervisor.eval.tables import tables

    if not sys.stdout.isatty():
        for table in tables(report):
            right = frozenset(range(table.words, len(table.headings)))
            say(table.title)
            for line in columns([table.headings, *table.rows], right=right):
                say(line)
            say(f"{table.caption}\n")
        return
    for table in tables(report):
        console().print(_rendered(table))


def _rendered(table: Table) -> RichTable:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(
        title=table.title,
        title_justify="left",
        title_style="bold",
        caption=table.caption,
        caption_justify="left",
        caption_style="dim",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    for place, name in enumerate(table.headings):
        drawn.add_column(name, justify="left" if place < table.words else "right")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn
