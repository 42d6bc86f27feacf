"""`lucid train`: the risk of failure, learned from runs whose outcome is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import columns, say, say_json
from supervisor.cli.shared import reporting

if TYPE_CHECKING:
    from supervisor.eval.tables import Table
    from supervisor.eval.training import Observed
    from supervisor.runtime.risk import RiskModel

__all__ = ["train"]


@click.command("train")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Write the model into this file, as JSON. Without it, it is only measured.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the model, for machines.")
@click.option(
    "--markdown",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Also bring the figures in this Markdown page up to date.",
)
@reporting
async def train(
    paths: tuple[Path, ...], out: Path | None, as_json: bool, markdown: Path | None
) -> int:
    """Learn the risk of failure from the traces in PATHS (files, or folders of them), and
    tell what it is worth on tasks that it was not taught.

    Traces are those of `lucid eval`; runs labelled `success` or `failure` are learned from,
    in sets that hold both. The same traces always give the same numbers.
    """
    import msgspec

    from supervisor.eval.training import fitted, held_out, require_enough, scored, sharpening
    from supervisor.eval.training_report import risk_tables

    runs = _runs(paths)
    require_enough(runs)
    models = held_out(runs)
    found = sharpening(models)
    shares = {one.mode: one.share for one in found if one.share}
    model = msgspec.structs.replace(fitted(runs), sharpening=shares)
    tables = list(risk_tables(model, runs, scored(models), found))
    _write(out, markdown, model, tables)
    if as_json:
        say_json(msgspec.to_builtins(model))
    else:
        _print(tables)
    return Exit.REACHED


def _runs(paths: tuple[Path, ...]) -> list[Observed]:
    from supervisor.eval.corpora import Fault, read_corpora
    from supervisor.eval.training import observe
    from supervisor.runtime import registry
    from supervisor.runtime.judge import Judge

    runs: list[Observed] = []
    for item in read_corpora(paths):
        if isinstance(item, Fault):
            say(f"lucid: {item}; it is left out", err=True)
        elif item.case is None:
            run = observe(item, Judge(item.id, registry.detectors(), {}))
            runs += [run] if run is not None else []
    return runs


def _write(out: Path | None, markdown: Path | None, model: RiskModel, tables: list[Table]) -> None:
    import msgspec

    from supervisor.errors import TranscriptError
    from supervisor.eval.markdown import as_markdown, put_into
    from supervisor.eval.training_report import MARK

    try:
        if markdown is not None:
            page = markdown.read_text(encoding="utf-8")
            markdown.write_text(put_into(page, as_markdown(tables), MARK), encoding="utf-8")
        if out is not None:
            out.write_bytes(msgspec.json.format(msgspec.json.encode(model)) + b"\n")
    except OSError as error:
        raise TranscriptError(f"{error.filename} cannot be written: {error.strerror}") from error


def _print(tables: list[Table]) -> None:
    for table in tables:
        right = frozenset(range(table.words, len(table.headings)))
        say(table.title)
        for line in columns([table.headings, *table.rows], right=right):
            say(line)
        say(f"{table.caption}\n")
