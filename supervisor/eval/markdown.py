"""The figures in a Markdown page, between two marks, so that it can be brought up to date."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from supervisor.errors import TranscriptError
from supervisor.eval.score import Report
from supervisor.eval.tables import Table, tables

__all__ = ["BEGIN", "END", "as_markdown", "figures_in", "put_into"]

BEGIN = "<!-- figures: written by lucid eval, not by hand -->"
END = "<!-- end of figures -->"


def figures_in(report: Report) -> str:
    """All tables as Markdown."""
    return as_markdown(tables(report))


def as_markdown(tables: Iterable[Table]) -> str:
    """Tables, each under its title."""
    return "\n\n".join("\n".join(_lines(table)) for table in tables)


def put_into(page: str, figures: str, mark: str) -> str:
    """`page` with `figures` between `mark` and `END`. Raises `TranscriptError` where it
    lacks them."""
    before, begin, rest = page.partition(mark)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise TranscriptError(f"the page has no place for figures: put {mark} and {END} into it")
    return f"{before}{begin}\n\n{figures}\n\n{end}{after}"


def _lines(table: Table) -> Iterator[str]:
    yield f"### {table.title}"
    yield ""
    yield _row(table.headings)
    figures = len(table.headings) - table.words
    yield _row(("---",) * table.words + ("---:",) * figures)
    yield from map(_row, table.rows)
    yield ""
    yield table.caption


def _row(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
