"""`lucid scan`: what went wrong in old transcripts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.shared import reporting

if TYPE_CHECKING:
    from supervisor.runtime.replay import Scanned

__all__ = ["scan"]


@click.command(epilog="Exits with 1 where something was found, with 0 where nothing was.")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option(
    "--policy", default="default", show_default=True, help="Whose detector settings to use."
)
@click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Keep what is read in this SQLite file, for 'lucid show'.",
)
@reporting
async def scan(paths: tuple[Path, ...], policy: str, store: Path | None) -> int:
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
            _tell(found)
    click.echo(f"{sessions} sessions, {lines} entries: {flagged} with verdicts")
    return Exit.GAVE_UP if flagged else Exit.REACHED


def _tell(found: Scanned) -> None:
    from supervisor.core.text import one_line

    for incident in found.incidents:
        message = one_line(incident.message, 160)
        click.echo(f"{incident.place}: {incident.source}: {message}", err=True)
    for verdict in found.verdicts:
        agent = f" (subagent {verdict.agent_id})" if verdict.agent_id else ""
        click.echo(
            f"{found.session_id[:8]}{agent} entry {verdict.seq}: {verdict.failure_mode} "
            f"{verdict.confidence:.2f} since {verdict.onset_seq}: {one_line(verdict.summary, 160)}"
        )
