"""What every command writes passes here: a transcript, a file's name, an error's text may
hold what would steer a terminal, and none of it gets there."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Sequence

import click

from supervisor.core.text import one_line

__all__ = ["clean", "columns", "say", "say_json", "say_told", "short"]

_LONG = re.compile(r"[0-9a-f]{8}[0-9a-f-]{8,}")


def clean(text: str) -> str:
    """`text` with a space for every control character but line ends.

    >>> clean("one\\n\\x1b[2Jtwo\\u202e")
    'one\\n [2Jtwo '
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        " " if char != "\n" and unicodedata.category(char)[0] == "C" else char for char in text
    )


def say(text: str = "", *, err: bool = False) -> None:
    """Print a text, on standard error if `err`."""
    click.echo(clean(text), err=err)


def say_json(value: object) -> None:
    """Print one line of JSON, in ASCII: machines read it, and terminals survive it. Secrets
    in it are left out."""
    from supervisor.privacy.redaction import redactor  # settings take a while to import

    click.echo(redactor().json(json.dumps(value, default=str).encode()))


def say_told(text: str) -> None:
    """Print a text that quotes a transcript, with its secrets left out."""
    from supervisor.privacy.redaction import redactor

    say(redactor().text(text))


def columns(rows: Sequence[Sequence[str]], right: frozenset[int] = frozenset()) -> Iterator[str]:
    """The rows as lines with their cells one below the other; columns in `right` are
    aligned to it.

    >>> list(columns([("a", "b"), ("long", "c")]))
    ['a     b', 'long  c']
    """
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for row in rows:
        cells = (
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield "  ".join(cells).rstrip()


def short(identity: str) -> str:
    """An id as it is shown: the beginning of one that was drawn at random, else all of it.

    >>> short("34b04bef-d3a1-4b9e-ae4f-15e9a663e054"), short("nightly-2")
    ('34b04bef', 'nightly-2')
    """
    return identity[:8] if _LONG.fullmatch(identity) else one_line(identity, 80)
