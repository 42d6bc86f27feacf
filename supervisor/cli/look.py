"""`lucid sessions`, `lucid show`, `lucid replay`: look at what is in the store."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.shared import open_store, reporting, store_option

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from supervisor.cli.story import Beat
    from supervisor.core.decision import Decision
    from supervisor.core.outcome import Outcome
    from supervisor.core.verdict import Verdict
    from supervisor.store.interface import Incident, SessionRow, Store

__all__ = ["replay", "sessions", "show"]


@click.command()
@store_option
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for machines.")
@reporting
async def sessions(store: Path | None, limit: int, as_json: bool) -> int:
    """List the sessions in the store, the last changed first."""
    async with open_store(store) as kept:
        rows = await kept.sessions(limit)
    if as_json:
        import msgspec

        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
    elif not rows:
        click.echo("No sessions yet: 'lucid run' makes one, 'lucid demo' shows how.")
    else:
        _print_sessions(rows)
    return Exit.REACHED


def _print_sessions(rows: Sequence[SessionRow]) -> None:
    from rich.table import Table
    from rich.text import Text

    from supervisor.core.text import one_line

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("session", "changed", "state"):
        table.add_column(name)
    for name in ("entries", "verdicts", "actions"):
        table.add_column(name, justify="right")
    table.add_column("objective")
    for row in rows:
        table.add_row(
            row.session_id[:8],
            f"{row.updated_at.astimezone():%Y-%m-%d %H:%M}",
            row.state,
            str(row.entries),
            str(row.verdicts),
            str(row.interventions),
            Text(one_line(row.objective or "", 60)),
        )
    _console().print(table)


@click.command()
@click.argument("session")
@store_option
@reporting
async def show(session: str, store: Path | None) -> int:
    """Show SESSION's timeline, with verdicts, decisions and outcomes in place.

    SESSION is an id from 'lucid sessions', or the beginning of one.
    """
    async with open_store(store) as kept:
        row = await kept.session(session)
        events = await _events(kept, row)
        console = _console()
        console.print(_heading(row))
        async for line in _timeline(kept, row, events):
            console.print(line, soft_wrap=True)
    return Exit.REACHED


def _heading(row: SessionRow) -> Text:
    from rich.text import Text

    from supervisor.core.text import one_line

    why = f" ({one_line(row.state_reason, 120)})" if row.state_reason else ""
    text = Text(f"session {row.session_id}  {row.state}{why}\n", style="bold")
    text.append(f"objective {one_line(row.objective or 'unknown', 200)}\n", style="default")
    return text


async def _events(store: Store, row: SessionRow) -> dict[int, list[Beat]]:
    """Lucid's own lines by the entry they belong behind."""
    import msgspec

    from supervisor.cli.story import beats_of_event

    behind: dict[int, list[Beat]] = {}
    recorded: list[tuple[str, Sequence[Verdict | Decision | Outcome | Incident]]] = [
        ("incident", await store.incidents(row.session_id)),
        ("verdict", await store.verdicts(row.session_id)),
        ("outcome", await store.outcomes(row.session_id)),
        ("decision", await store.decisions(row.session_id)),
    ]
    for kind, items in recorded:
        for item in items:
            beats = beats_of_event(kind, msgspec.to_builtins(item))
            behind.setdefault(item.seq or 0, []).extend(beats)
    return behind


async def _timeline(
    store: Store, row: SessionRow, events: dict[int, list[Beat]]
) -> AsyncIterator[Text]:
    """The session's lines: its entries, what Lucid did behind each, and forks."""
    from rich.text import Text

    from supervisor.cli.story import beats_of_entry
    from supervisor.runtime.judge import Judge

    typed = Judge(row.session_id, {}, {})
    transcript, copied = None, 0
    async for stored in store.entries(row.session_id):
        if stored.inherited:
            copied += 1
        if transcript not in (None, stored.transcript) or (copied and not stored.inherited):
            yield Text(f"{'':>5}  -- goes on in {stored.transcript[:8]}, from {copied} entries --")
            copied = 0
        transcript = stored.transcript
        for entry in () if stored.inherited else typed.observe(stored).entries:
            for beat in beats_of_entry(entry):
                yield _numbered(entry.seq, beat, entry.agent_id)
        for beat in events.pop(stored.seq, ()):
            yield _numbered(None, beat, None)
    for beats in events.values():
        for beat in beats:
            yield _numbered(None, beat, None)


def _numbered(seq: int | None, beat: Beat, agent_id: str | None) -> Text:
    from rich.text import Text

    from supervisor.cli.terminal import beat_text

    text = Text(f"{'' if seq is None else seq:>5}  ", style="dim")
    if agent_id is not None:
        text.append(f"[{agent_id[:8]}] ", style="dim")
    return text.append_text(beat_text(beat))


def _console() -> Console:
    from rich.console import Console

    return Console(highlight=False)


@click.command()
@click.argument("session")
@store_option
@reporting
async def replay(session: str, store: Path | None) -> int:
    """Run the detectors over the stored SESSION again, with the settings it ran under, and
    compare what they find with what was found live. Exits with 1 where that differs."""
    from supervisor.runtime.replay import replay as again

    async with open_store(store) as kept:
        row = await kept.session(session)
        live = {verdict.id: verdict for verdict in await kept.verdicts(row.session_id)}
        found: dict[str, Verdict] = {}
        async for judged in again(kept, row):
            found.update({verdict.id: verdict for verdict in judged.verdicts})
    for line in _differences(live, found):
        click.echo(line)
    if live == found:
        click.echo(f"{row.entries} entries: the same {len(found)} verdicts as live")
        return Exit.REACHED
    click.echo(f"{row.entries} entries: {len(live)} verdicts live, {len(found)} on replay")
    return Exit.GAVE_UP


def _differences(live: dict[str, Verdict], found: dict[str, Verdict]) -> Iterator[str]:
    from supervisor.core.text import one_line

    for identity in sorted(live.keys() | found.keys(), key=lambda name: int(name.split("/")[0])):
        before, now = live.get(identity), found.get(identity)
        mark = " " if before == now else "-" if now is None else "+" if before is None else "~"
        verdict = now or before
        assert verdict is not None
        yield (
            f"{mark} entry {verdict.seq}: {verdict.failure_mode} {verdict.confidence:.2f} "
            f"since {verdict.onset_seq}: {one_line(verdict.summary, 120)}"
        )
