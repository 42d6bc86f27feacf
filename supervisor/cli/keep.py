"""`lucid prune`, `lucid export`, `lucid import`: what stays in the store, and what moves."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say, say_json, short
from supervisor.cli.shared import (
    fail,
    json_option,
    open_store,
    program,
    reporting,
    store_argument,
    store_option,
)
from supervisor.errors import SupervisorError

if TYPE_CHECKING:
    from supervisor.store.interface import Removed, SessionRow, Store

__all__ = ["export", "import_", "prune"]

_AT_ONCE = 100
_MOST_SHOWN = 100_000
_UNFIT = re.compile(r"[^\w.-]|^[.-]")
"""What is left out of a file's name."""


def _before(context: click.Context, parameter: click.Parameter, value: str) -> datetime:
    """The time that long ago."""
    from supervisor.core.duration import parse_duration

    try:
        return datetime.now(UTC) - parse_duration(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    except OverflowError:
        raise click.BadParameter(f"{value} ago is before the calendar begins") from None


@click.command()
@click.option(
    "--older-than",
    "before",
    required=True,
    callback=_before,
    metavar="AGE",
    help="How long ago a session changed last: 30d, 12h.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be deleted, and delete nothing.")
@click.option(
    "--unfinished",
    is_flag=True,
    help="Also what was left running, by a worker that is gone, and could be resumed.",
)
@store_option
@json_option
@reporting
async def prune(
    before: datetime, dry_run: bool, unfinished: bool, store: str | None, as_json: bool
) -> int:
    """Delete old sessions with all that belongs to them, and give the space back.

    Sessions that wait for a worker or are run by one stay.
    """
    async with open_store(store) as kept:
        if dry_run:
            rows = await kept.prunable(before, unfinished=unfinished, limit=_MOST_SHOWN)
            for row in rows:
                _tell_planned(row, as_json)
            sessions, entries = len(rows), sum(row.entries for row in rows)
        else:
            sessions, entries = await _prune(kept, before, unfinished, as_json)
    if not as_json:
        done = "would be deleted" if dry_run else "deleted"
        say(f"{sessions:,} sessions with {entries:,} entries {done}")
    return Exit.REACHED


async def _prune(
    store: Store, before: datetime, unfinished: bool, as_json: bool
) -> tuple[int, int]:
    sessions = entries = 0
    while removed := await store.prune(before, unfinished=unfinished, limit=_AT_ONCE):
        for gone in removed:
            _tell_removed(gone, as_json)
        sessions += len(removed)
        entries += sum(gone.entries for gone in removed)
    return sessions, entries


def _tell_planned(row: SessionRow, as_json: bool) -> None:
    if as_json:
        say_json({"session_id": row.session_id, "entries": row.entries, "changed": row.updated_at})
        return
    from supervisor.core.text import one_line

    changed = f"{row.updated_at.astimezone():%Y-%m-%d %H:%M}"
    about = one_line(row.objective or "", 60)
    line = f"{short(row.session_id)}  {changed}  {row.state}  {row.entries:,} entries  {about}"
    say(line.rstrip())


def _tell_removed(gone: Removed, as_json: bool) -> None:
    if as_json:
        say_json({"session_id": gone.session_id, "entries": gone.entries})
    else:
        say(f"{short(gone.session_id)}  {gone.entries:,} entries")


@click.command()
@click.argument("session")
@click.option(
    "-o",
    "--output",
    metavar="FILE",
    help="Where to; '-' is standard output.  [default: SESSION.jsonl.gz, here]",
)
@click.option("--raw", is_flag=True, help="Leave secrets in: byte for byte what is stored.")
@store_option
@reporting
async def export(session: str, output: str | None, raw: bool, store: str | None) -> int:
    """Write a session to a file, for 'lucid import': its transcripts and all that was
    concluded from them. Secrets are left out, unless --raw is given or the setting 'redact'
    is off. Checkpoints of the agent's files are not in it."""
    from supervisor.privacy.redaction import Redactor, redactor
    from supervisor.store.archive import export_session

    redacts = Redactor(on=False) if raw else redactor()
    async with open_store(store) as kept:
        session_id = (await kept.session(session)).session_id
        if output == "-":
            if sys.stdout.isatty():
                return fail("a terminal cannot show an archive; name a file with -o", Exit.USAGE)
            await export_session(kept, session_id, sys.stdout.buffer, redactor=redacts)
            return Exit.REACHED
        path = Path(output or _UNFIT.sub("_", session_id) + ".jsonl.gz")
        with _new_file(path) as file:
            moved = await export_session(kept, session_id, file, redactor=redacts)
    say(f"session {short(session_id)} with {moved.entries:,} entries is in {path}")
    if moved.redacted:
        say(f"secrets were left out of {moved.redacted:,} lines; --raw keeps them")
    return Exit.REACHED


@contextmanager
def _new_file(path: Path) -> Iterator[BinaryIO]:
    """A file for its owner only, which is gone again where what is done inside fails."""
    try:
        number = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SupervisorError(f"{path} is there already; name another file with -o") from None
    except OSError as error:
        raise SupervisorError(f"{path} cannot be written: {error.strerror}") from error
    try:
        with open(number, "wb") as file:
            yield file
    except BaseException as error:
        with suppress(OSError):
            path.unlink()
        if isinstance(error, OSError):
            raise SupervisorError(f"{path} cannot be written: {error.strerror}") from error
        raise


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@store_option
@reporting
async def import_(file: Path, store: str | None) -> int:
    """Put the session in FILE, which 'lucid export' wrote, into a store: all of it, or
    nothing. A session that was running comes back as closed; 'lucid resume' goes on with it,
    as its policy and its submission say, so import only files that you trust."""
    from supervisor.store.archive import import_session

    async with open_store(store) as kept:
        moved = await import_session(kept, file)
    if not moved.new:
        say(f"session {short(moved.session_id)} is in the store already, the same")
        return Exit.REACHED
    say(f"imported session {short(moved.session_id)} with {moved.entries:,} entries; look at it:")
    say(f"  {program()} show {short(moved.session_id)}{store_argument(store)}")
    return Exit.REACHED
