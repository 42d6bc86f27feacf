"""`lucid sessions`, `lucid show`, `lucid replay`: look at what is in the store."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import columns, say, say_json, say_told, short
from supervisor.cli.shared import json_option, open_store, reporting, store_option

if TYPE_CHECKING:
    from datetime import datetime

    from supervisor.cli.timeline import Item
    from supervisor.core.verdict import Verdict
    from supervisor.runtime.effects import Effect
    from supervisor.store.interface import SessionRow, Store

__all__ = ["replay", "sessions", "show"]


@click.command()
@store_option
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=20,
    metavar="N",
    show_default=True,
    help="How many at the most.",
)
@json_option
@reporting
async def sessions(store: str | None, limit: int, as_json: bool) -> int:
    """List the sessions in the store, the last changed first."""
    async with open_store(store) as kept:
        rows = await kept.sessions(limit)
        followers = await _followers(kept, rows)
    if as_json:
        import msgspec

        for row in rows:
            followed = {"followed_by": followers.get(row.session_id)}
            say_json(msgspec.to_builtins(row) | followed)
    elif not rows:
        say("No sessions yet: 'lucid run' makes one, 'lucid demo' shows how.")
    else:
        _print_sessions(rows, followers)
    return Exit.REACHED


async def _followers(kept: Store, rows: Sequence[SessionRow]) -> dict[str, str]:
    """Who follows the sessions that run in no process of Lucid's: the sidecars, by session."""
    if not any(map(_runs_alone, rows)):
        return {}
    followers: dict[str, str] = {}
    for folder in await kept.live_folders():
        assert folder.lease is not None, "it is alive"
        for mark in await kept.marks(folder.name):
            followers[mark.session_id] = folder.lease.owner
    alone = {row.session_id for row in rows if _runs_alone(row)}
    return {session_id: owner for session_id, owner in followers.items() if session_id in alone}


def _runs_alone(row: SessionRow) -> bool:
    from supervisor.core.session import SessionState

    return row.lease is None and row.state is SessionState.RUNNING


_HEADINGS = ("session", "changed", "state", "worker", "entries", "verdicts", "actions", "objective")
_NUMBERS = frozenset({"entries", "verdicts", "actions"})


def _print_sessions(rows: Sequence[SessionRow], followers: Mapping[str, str]) -> None:
    every = [_cells(row, followers.get(row.session_id)) for row in rows]
    # Where no session runs, there is no column for who runs it.
    shown = [n for n, name in enumerate(_HEADINGS) if name != "worker" or any(c[n] for c in every)]
    headings, *cells = ([line[n] for n in shown] for line in (_HEADINGS, *every))
    if not sys.stdout.isatty():
        right = frozenset(n for n, name in enumerate(headings) if name in _NUMBERS)
        for line in columns([headings, *cells], right=right):
            say_told(line)
        return
    from rich.table import Table
    from rich.text import Text

    from supervisor.cli.terminal import console

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in headings:
        table.add_column(
            name,
            justify="right" if name in _NUMBERS else "left",
            no_wrap=name != "objective",  # the one that gives way
        )
    for *fixed, objective in cells:
        table.add_row(*map(Text, fixed), Text(objective, no_wrap=True, overflow="ellipsis"))
    console().print(table)


def _cells(row: SessionRow, follower: str | None) -> tuple[str, ...]:
    from supervisor.core.text import one_line

    return (
        short(row.session_id),
        f"{row.updated_at.astimezone():%Y-%m-%d %H:%M}",
        row.state,
        _worker(row, follower),
        str(row.entries),
        str(row.verdicts),
        str(row.interventions),
        one_line(row.objective or "", 200),
    )


def _worker(row: SessionRow, follower: str | None) -> str:
    """Whose process has the session, or follows it: its host and number. A session that runs
    and that nobody has was interrupted."""
    if row.lease is not None:
        return _process(row.lease.owner)
    if not _runs_alone(row):
        return ""
    return f"sidecar {_process(follower)}" if follower is not None else "nobody"


def _process(owner: str) -> str:
    from supervisor.core.text import one_line

    host, _, rest = owner.partition("/")
    return one_line(f"{host.partition('#')[0]}/{rest.partition('/')[0]}", 40)


@click.command()
@click.argument("session")
@store_option
@json_option
@reporting
async def show(session: str, store: str | None, as_json: bool) -> int:
    """Show SESSION's timeline, with verdicts, decisions and outcomes in place.

    SESSION is an id from 'lucid sessions', or the beginning of one. A line is an entry's
    number, its time and what it is; a part that was cut off by a rollback is marked with
    a ~ (in a terminal it is dimmed as well). A decision ends with the beginning of its id,
    which 'lucid explain' takes.
    """
    from supervisor.cli.timeline import timeline
    from supervisor.runtime.effects import effects_in

    async with open_store(store) as kept:
        row = await kept.session(session)
        items = timeline(kept, row)
        follower = (await _followers(kept, [row])).get(row.session_id)
        await (_show_json(row, items) if as_json else _show_lines(row, items, follower))
        _show_effects(await effects_in(kept, row), as_json)
    return Exit.REACHED


def _show_effects(effects: Sequence[Effect], as_json: bool) -> None:
    """How often each action helped, and what that took."""
    if as_json:
        import msgspec

        for effect in effects:
            say_json({"item": "effect", **msgspec.to_builtins(effect)})
        return
    if not effects:
        return
    say()
    names = ("failure", "action", "taken", "helped", "failed", "tokens")
    rows = [
        (one.failure_mode, one.action, one.taken, one.helped, one.failed, f"{one.tokens:,}")
        for one in effects
    ]
    for line in columns([names, *(tuple(map(str, row)) for row in rows)], right=_COUNTS):
        say(line)


_COUNTS = frozenset({2, 3, 4, 5})
"""Columns of figures."""


async def _show_json(row: SessionRow, items: AsyncIterator[Item]) -> None:
    import msgspec

    say_json({"item": "session", **msgspec.to_builtins(row)})
    async for item in items:
        fields = msgspec.json.decode(msgspec.json.encode(item.what))
        marked = {"left_behind": item.left_behind} if item.kind == "entry" else {}
        say_json({"item": item.kind, **marked, **fields})


async def _show_lines(row: SessionRow, items: AsyncIterator[Item], follower: str | None) -> None:
    from supervisor.cli.timeline import beats_of

    for line in _heading(row, follower):
        say_told(line)
    if not sys.stdout.isatty():
        async for item in items:
            for beat in beats_of(item):
                say_told(f"{_lead(item)} {beat}")
        return
    from supervisor.cli.terminal import console, rendered

    screen = console()
    async for item in items:
        for beat in beats_of(item):
            screen.print(rendered(beat, lead=f"{_lead(item)} ", faded=item.left_behind))


def _heading(row: SessionRow, follower: str | None) -> Iterator[str]:
    from supervisor.core.text import one_line

    why = f": {one_line(row.state_reason, 200)}" if row.state_reason else ""
    yield f"session    {one_line(row.session_id, 200)}"
    yield f"state      {row.state}{why}"
    if row.lease is not None:
        until = _local(row.lease.expires_at)
        yield f"worker     {_process(row.lease.owner)}, until {until} unless it renews"
    elif follower is not None:
        yield f"follower   {_worker(row, follower)}"
    yield f"objective  {one_line(row.objective or 'unknown', 400)}"
    yield f"from, to   {_local(row.created_at)}, {_local(row.updated_at)}"
    yield ""


def _local(at: datetime) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}"


def _lead(item: Item) -> str:
    """What stands before a beat: the entry's number, its time, whether it was cut off."""
    number = getattr(item.what, "seq", "") if item.kind == "entry" else ""
    time = f"{item.at.astimezone():%H:%M:%S}" if item.at else ""
    return f"{number:>5} {time:8} {'~' if item.left_behind else ' '}"


@click.command(epilog="Exits with 0 where both are the same, with 1 where they differ.")
@click.argument("session")
@store_option
@json_option
@reporting
async def replay(session: str, store: str | None, as_json: bool) -> int:
    """Run the detectors over the stored SESSION again, with the settings it ran under, and
    compare what they find with what was found live.

    A verdict is marked with a + where it is new, a - where it is missing, a ~ where it
    has changed."""
    from supervisor.runtime.replay import NOT_REPLAYED
    from supervisor.runtime.replay import replay as again

    async with open_store(store) as kept:
        row = await kept.session(session)
        verdicts = await kept.verdicts(row.session_id)
        live = {one.id: one for one in verdicts if one.detector not in NOT_REPLAYED}
        found: dict[str, Verdict] = {}
        async for judged in again(kept, row):
            found.update({verdict.id: verdict for verdict in judged.verdicts})
    for mark, verdict in _compared(live, found):
        _print_verdict(mark, verdict, as_json)
    if not as_json:
        same = f"the same {len(found)} verdicts as live"
        differ = f"{len(live)} verdicts live, {len(found)} on replay"
        say(f"{row.entries} entries: {same if live == found else differ}")
    return Exit.REACHED if live == found else Exit.GAVE_UP


_MARKS = {"same": " ", "missing": "-", "new": "+", "changed": "~"}


def _compared(live: dict[str, Verdict], found: dict[str, Verdict]) -> Iterator[tuple[str, Verdict]]:
    """Every verdict of either, in order, with how the two compare."""
    for identity in sorted(live.keys() | found.keys(), key=lambda name: int(name.split("/")[0])):
        before, now = live.get(identity), found.get(identity)
        if now is None:
            yield "missing", live[identity]
        elif before is None:
            yield "new", now
        else:
            yield "same" if before == now else "changed", now


def _print_verdict(compared: str, verdict: Verdict, as_json: bool) -> None:
    from supervisor.core.text import one_line

    if as_json:
        import msgspec

        say_json({"compared": compared, "verdict": msgspec.to_builtins(verdict)})
        return
    agent = f" [{short(verdict.agent_id)}]" if verdict.agent_id else ""
    say(
        f"{_MARKS[compared]} entry {verdict.seq}{agent}: {verdict.failure_mode} "
        f"{verdict.confidence:.2f} since {verdict.onset_seq}: {one_line(verdict.summary, 200)}"
    )
