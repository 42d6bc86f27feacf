"""`lucid eval`: how good the detectors are, on labelled traces."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import columns, say, say_json
from supervisor.cli.shared import reporting

if TYPE_CHECKING:
    from rich.table import Table as RichTable

    from supervisor.core.verdict import FailureMode
    from supervisor.eval.opinions import Panel
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
    help="Also bring the figures in this Markdown page up to date, or begin one.",
)
@click.option(
    "--held-out",
    is_flag=True,
    help="Also choose thresholds by cross-validation, and tell what they do on tasks that "
    "they were not chosen on. Takes a minute or more.",
)
@click.option(
    "--judge",
    metavar="MODEL",
    help="Also ask a model about findings that no rule acts on, as the policy's `judge` would, "
    "and count what it confirms. Costs money, within the policy's budgets.",
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
    held_out: bool,
    judge: str | None,
) -> int:
    """Stream the labelled traces in PATHS (files, or folders of them) through the
    detectors and tell what they catch, where, how late, and how often they cry wolf.

    Traces are *.jsonl or *.jsonl.gz with one normalised trace a line, *.json.gz with a
    list of loop cases, or Claude Code transcripts.
    """
    from supervisor.eval.figures import figures
    from supervisor.eval.score import Report
    from supervisor.eval.tables import tables

    if (held_out or judge) and (as_json or show is not None):
        raise click.UsageError(
            "--held-out and --judge add tables to the figures: leave --json and --show out"
        )
    wanted = _modes(modes)
    bench = _bench(policy, threshold, wanted, html is not None)
    panel = _panel(policy, judge, bench) if judge else None
    report = Report(await _runs(paths, bench, panel), wanted)
    _write(html, markdown, report, _threshold(policy, threshold))
    if show is not None:
        _list(show, report)
    elif as_json:
        say_json(figures(report))
    else:
        _print(tables(report))
    if panel is not None and judge:
        _tell(panel, judge)
    if held_out:
        _hold_out(paths, policy, markdown)
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


def _panel(policy: str, model: str, bench: Bench) -> Panel:
    """One that asks as the policy's judge would; without one, about every mode."""
    from supervisor.core.verdict import RUNTIME_MODES, FailureMode
    from supervisor.eval.opinions import Panel
    from supervisor.policy.judge import Opinions
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    loaded = load_policy(policy, detectors=registry.detectors(), actions=registry.actions())
    modes = tuple(mode for mode in FailureMode if mode not in RUNTIME_MODES)
    asking = loaded.judge or Opinions(model=model, confirms=modes)
    return Panel(asking.model_copy(update={"model": model}), bench)


def _tell(panel: Panel, model: str) -> None:
    from supervisor.eval.opinions import opinions_table

    for note in panel.notes:
        say(f"lucid: {note}", err=True)
    _print([opinions_table(model, panel.opinions)])


async def _runs(paths: tuple[Path, ...], bench: Bench, panel: Panel | None) -> list[Run]:
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
        runs.append(run if panel is None else await panel.hear(item, run))
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
    from supervisor.eval.markdown import BEGIN, figures_in
    from supervisor.eval.page.report import render

    if markdown is not None:
        _put(markdown, figures_in(report), BEGIN)
    try:
        if html is not None:
            html.write_text(render(report, threshold), encoding="utf-8")
    except OSError as error:
        raise TranscriptError(f"{error.filename} cannot be written: {error.strerror}") from error


def _list(what: str, report: Report) -> None:
    from supervisor.eval.listing import confidences, false_alarms, misses

    lists = {"misses": misses, "false": false_alarms, "confidences": confidences}
    for line in lists[what](report):
        say(line)


def _hold_out(paths: tuple[Path, ...], policy: str, markdown: Path | None) -> None:
    from supervisor.eval.corpora import Fault, read_corpora
    from supervisor.eval.held_out import cross_validated
    from supervisor.eval.held_out_tables import MARK, held_out_tables
    from supervisor.eval.markdown import as_markdown
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    detectors = registry.detectors()
    loaded = load_policy(policy, detectors=detectors, actions=registry.actions())
    found = (item for item in read_corpora(paths) if not isinstance(item, Fault))
    made = list(held_out_tables(cross_validated(found, detectors, loaded)))
    _print(made)
    if markdown is not None:
        _put(markdown, as_markdown(made), MARK)


def _put(page: Path, figures: str, mark: str) -> None:
    from supervisor.errors import TranscriptError
    from supervisor.eval.markdown import END, put_into

    try:
        text = page.read_text(encoding="utf-8") if page.exists() else f"{mark}\n\n{END}\n"
        page.write_text(put_into(text, figures, mark), encoding="utf-8")
    except OSError as error:
        raise TranscriptError(f"{error.filename} cannot be written: {error.strerror}") from error


def _print(tables: Iterable[Table]) -> None:
    from supervisor.cli.terminal import console

    if not sys.stdout.isatty():
        for table in tables:
            right = frozenset(range(table.words, len(table.headings)))
            say(table.title)
            for line in columns([table.headings, *table.rows], right=right):
                say(line)
            say(f"{table.caption}\n")
        return
    for table in tables:
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
