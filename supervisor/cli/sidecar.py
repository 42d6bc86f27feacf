"""`lucid sidecar`: supervise agents as they are, from beside them."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from supervisor.cli.agent_options import policy_option
from supervisor.cli.draining import grace_option, until_drained
from supervisor.cli.exits import Exit
from supervisor.cli.output import say
from supervisor.cli.serving import Door, Served, door_of, log_the_work, serving_options
from supervisor.cli.shared import open_store, reporting, store_option

if TYPE_CHECKING:
    from supervisor.policy.load import Loaded
    from supervisor.sidecar.sidecar import Sidecar
    from supervisor.store.interface import Store

__all__ = ["sidecar"]


@click.command(
    epilog="'lucid hooks print' says what to put into an agent's settings, so that Lucid can "
    "steer it; without, it watches. Exits with 0 after SIGTERM or Ctrl-C."
)
@click.argument(
    "folders", nargs=-1, type=click.Path(path_type=Path, file_okay=False), metavar="[FOLDER]..."
)
@policy_option
@store_option
@click.option(
    "--listen",
    metavar="A",
    help="HOST:PORT or unix:PATH; port 0 picks a free one.  "
    "[default: $LUCID_LISTEN, or 127.0.0.1:7311]",
)
@serving_options
@click.option(
    "--poll",
    is_flag=True,
    help="Look at the folders again and again, where changes are not told (network volumes).",
)
@grace_option
@reporting
async def sidecar(
    folders: tuple[Path, ...],
    policy: str | None,
    store: str | None,
    poll: bool,
    grace: float,
    **asked: Unpack[Served],
) -> int:
    """Follow the transcripts of the agents whose 'projects' FOLDERs these are, answer their
    hooks, and show what becomes of them: /hooks, /metrics, /healthz, /readyz and /api/v1.

    A FOLDER that is not there yet is waited for.  [default: 'projects' in $CLAUDE_CONFIG_DIR
    or ~/.claude]

    On SIGTERM or Ctrl-C it reads nothing new, judges what it has read, and lets go of the
    sessions; another sidecar on the same store goes on with them. The agents go on, unwatched.
    """
    from supervisor.settings import read_settings
    from supervisor.sidecar.sidecar import Sidecar

    log_the_work()
    settings = read_settings()
    door = door_of(asked["listen"] or settings.listen, asked, settings, needs_token=True)
    loaded = _loaded(policy or settings.policy)
    followed = tuple(folder.absolute() for folder in folders) or (_usual_folder(),)
    async with open_store(store) as kept:
        beside = Sidecar(
            store=kept,
            folders=followed,
            policy=loaded,
            settings=settings,
            watch="poll" if poll else "auto",
        )
        ended = asyncio.Event()

        async def drain(within: float) -> None:
            try:
                await beside.drain(within)
            finally:
                ended.set()

        _tell(kept, loaded, followed, door)
        await until_drained(
            _follow_and_serve(beside, kept, door, ended),
            drain,
            grace=grace,
            signals=(signal.SIGTERM, signal.SIGINT),
        )
    return Exit.REACHED


def _loaded(source: str) -> Loaded:
    from supervisor.policy.load import read_policy
    from supervisor.runtime import registry

    return read_policy(source, detectors=registry.detectors(), actions=registry.actions())


def _usual_folder() -> Path:
    """Where the CLI of this user writes its transcripts."""
    given = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(given) if given else Path.home() / ".claude").absolute() / "projects"


async def _follow_and_serve(
    beside: Sidecar, store: Store, door: Door, ended: asyncio.Event
) -> None:
    """Follow the folders and serve what becomes of them until `ended`."""
    from supervisor.privacy.redaction import redactor
    from supervisor.service.leaving import Leaving
    from supervisor.service.live import Live
    from supervisor.service.readiness import Readiness
    from supervisor.service.service import Service
    from supervisor.service.serving import allow_connections
    from supervisor.sidecar.desk import Desk

    allow_connections()
    leaving = Leaving(redactor())
    live = Live(leaving)
    service = Service(
        store=store,
        readiness=Readiness(store, beside.not_ready),
        leaving=leaving,
        window=Desk(beside),
        live=live,
    )
    # The address first: where it cannot be had, nothing is begun.
    with door.listening() as listening:
        async with beside, door.opened(service, listening) as address:
            say(f"listening on {address}", err=True)
            feeding = asyncio.create_task(live.follow(beside))
            try:
                await ended.wait()
            finally:
                live.close()
                feeding.cancel()
                await asyncio.gather(feeding, return_exceptions=True)


def _tell(store: Store, loaded: Loaded, folders: tuple[Path, ...], door: Door) -> None:
    """What it works with, a line each."""
    for folder in folders:
        waited = "" if folder.is_dir() else " (not there yet: waited for)"
        say(f"following {folder}{waited}", err=True)
    say(f"policy: {loaded.files[0]} ({loaded.policy.mode})", err=True)
    say(f"store: {store}", err=True)
    door.tell_token()
