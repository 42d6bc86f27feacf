"""`lucid scan`: what went wrong in old transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say, say_json, short
from supervisor.cli.shared import json_option, reporting

if TYPE_CHECKING:
    from supervisor.runtime.replay import Scanned

__all__ = ["scan"]


@click.command(epilog="Exits with 1 where something was found, with 0 where nothing was.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--policy",
    default="default",
    metavar="F",
    show_default=True,
    help="The policy whose detector settings to use.",
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="Keep what is read in this SQLite file, for 'lucid show'.",
)
@json_option
@reporting
async def scan(paths: tuple[Path, ...], policy: str, store: Path | None, as_json: bool) -> int:
    """Read the Claude Code transcripts in PATHS (files, or folders such as
    ~/.claude/projects) and tell what went wrong in them, and where."""
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry
    from supervisor.runtime.replay import scan as scan_files
    from supervisor.store.sqlite import SqliteStore

    loaded = load_policy(policy, detectors=registry.detectors(), actions=registry.actions())
    sessions = lines = flagged = 0
    async with SqliteStore(store) as kept:
        async for found in scan_files(paths, kept, loaded.detectors):
            sessions += 1
            lines += found.lines
            flagged += bool(found.verdicts)
            _print(found, as_json)
    if not as_json:
        say(f"{sessions} sessions, {lines} entries: {flagged} with verdicts")
    return Exit.GAVE_UP if flagged else Exit.REACHED


def _print(found: Scanned, as_json: bool) -> None:
    from supervisor.core.text import one_line

    if as_json:
        import msgspec

        say_json(msgspec.to_builtins(found, enc_hook=str))
        return
    for incident in found.incidents:
        place, message = one_line(incident.place, 1000), one_line(incident.message, 200)
        say(f"{place}: {incident.source}: {message}", err=True)
    for verdict in found.verdicts:
        agent = f" [{short(verdict.agent_id)}]" if verdict.agent_id else ""
        say(
            f"{short(found.session_id)}{agent} entry {verdict.seq}: {verdict.failure_mode} "
            f"{verdict.confidence:.2f} since {verdict.onset_seq}: {one_line(verdict.summary, 200)}"
        )
