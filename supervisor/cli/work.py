"""`lucid submit` and `lucid worker`: sessions that are queued, and who runs them."""

from __future__ import annotations

import logging
import signal
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from supervisor.cli.agent_options import (
    Asked,
    agent_options,
    cwd_option,
    metrics_option,
    policy_option,
    submission,
)
from supervisor.cli.draining import grace_option, until_drained
from supervisor.cli.exits import Exit
from supervisor.cli.output import say, say_json
from supervisor.cli.serving import (
    Served,
    door_of,
    log_the_work,
    serving_options,
    vital_signs,
)
from supervisor.cli.shared import (
    json_option,
    open_store,
    reporting,
    serve_metrics_at,
    store_option,
)

if TYPE_CHECKING:
    from supervisor.runtime.jobs import Jobs
    from supervisor.runtime.worker import Worker
    from supervisor.store.interface import SessionRow, Store

__all__ = ["submit", "worker"]

log = logging.getLogger(__name__)

_CONCURRENCY = 2

Drain = Callable[[float], Awaitable[None]]


@click.command()
@click.argument("objective")
@click.option(
    "--priority",
    type=click.IntRange(-1_000_000, 1_000_000),
    default=0,
    show_default=True,
    metavar="N",
    help="Workers take the highest first.",
)
@policy_option
@store_option
@cwd_option
@agent_options
@json_option
@reporting
async def submit(
    objective: str,
    priority: int,
    policy: str | None,
    store: str | None,
    cwd: Path | None,
    as_json: bool,
    **asked: Unpack[Asked],
) -> int:
    """Queue a session on OBJECTIVE and print its id; a 'lucid worker' on the same store
    runs it, with its own environment and sign-in.

    The options are as for 'lucid run', and are kept with the session; of an MCP
    configuration only the path is, since what it says may be secret.
    """
    import msgspec

    from supervisor.core.session import SessionState
    from supervisor.runtime.policies import chosen_policy
    from supervisor.runtime.submission import new_session

    asks = msgspec.structs.replace(submission(**asked), priority=priority)
    loaded = chosen_policy(policy)
    async with open_store(store) as kept:
        row = await new_session(kept, objective, asks, loaded, cwd=cwd, state=SessionState.QUEUED)
        await _announce(kept, row)
    if as_json:
        say_json({"session_id": row.session_id, "state": row.state})
    else:
        say(row.session_id)
    return Exit.REACHED


async def _announce(store: Store, row: SessionRow) -> None:
    """Let a worker know at once. The session is queued already: one that is not told finds
    it when it looks."""
    from supervisor.errors import StoreError

    try:
        if (jobs := _jobs_beside(store)) is not None:
            async with jobs:
                await jobs.add(row)
    except StoreError as error:
        say(f"lucid: queued, but no worker was told: {error}", err=True)


@click.command(
    epilog=f"Exits with 0 when nothing is left to do, with {Exit.RESUMABLE.value} where sessions "
    "were left for another worker, and else as 'lucid run' does."
)
@store_option
@click.option(
    "--concurrency",
    type=click.IntRange(1, 1000),
    default=_CONCURRENCY,
    show_default=True,
    metavar="N",
    help="Sessions at once, at the most.",
)
@click.option(
    "--cwd",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="D",
    help="Where sessions work whose own folder is not on this host.  [default: they are left]",
)
@click.option(
    "--policy",
    metavar="P",
    help="Run every session under this policy file or shipped policy; a file is followed as it "
    "changes.  [default: the policy that each was submitted with]",
)
@click.option("--adopt", is_flag=True, help="Take sessions of 'lucid run', too, when it is gone.")
@click.option("--until-idle", is_flag=True, help="End when there is nothing to do.")
@grace_option
@metrics_option
@click.option(
    "--listen",
    metavar="A",
    help="Serve /healthz, /readyz and /metrics on HOST:PORT or unix:PATH.  [default: nowhere]",
)
@serving_options
@reporting
async def worker(
    store: str | None,
    concurrency: int,
    cwd: Path | None,
    policy: str | None,
    adopt: bool,
    until_idle: bool,
    grace: float,
    metrics_port: int | None,
    **asked: Unpack[Served],
) -> int:
    """Run the sessions that are queued in the store, and go on with those whose worker is
    gone, until told to stop.

    On SIGTERM or Ctrl-C it takes no new session and brings each agent to its next tool
    boundary, or ends it where it is when --grace runs out; other workers go on with them.
    A second signal hurries. On PostgreSQL any number of workers, on any hosts, share the
    work; on SQLite those of one host do.
    """
    from claude_agent_sdk import ClaudeAgentOptions

    from supervisor.cli.preflight import preflight
    from supervisor.runtime.reload import StandingPolicy
    from supervisor.runtime.worker import Worker

    standing = None if policy is None else StandingPolicy(policy)
    log_the_work()
    await preflight(ClaudeAgentOptions())
    serve_metrics_at(metrics_port)
    async with AsyncExitStack() as stack:
        kept = await stack.enter_async_context(open_store(store))
        works = Worker(kept, elsewhere=cwd, adopts=adopt, policy=standing)
        drain: Drain = works.drain
        if asked["listen"] is not None:
            drain = await _serve(asked["listen"], asked, kept, drain, stack)
        log.info("worker started: %d sessions at once, grace %g s", concurrency, grace)
        await until_drained(
            _work(works, kept, concurrency, until_idle),
            drain,
            grace=grace,
            signals=(signal.SIGTERM, signal.SIGINT),
        )
        log.info("worker ended: %d sessions left to be resumed", works.resumable)
    return Exit.RESUMABLE if works.resumable else Exit.REACHED


async def _serve(
    listen: str, asked: Served, store: Store, drain: Drain, stack: AsyncExitStack
) -> Drain:
    """Serve until `stack` is left how the worker does; returns `drain` so that being drained
    shows there."""
    from supervisor.settings import read_settings

    door = door_of(listen, asked, read_settings(), needs_token=not asked["open_metrics"])
    lacks: list[str] = []
    address = await stack.enter_async_context(vital_signs(door, store, lambda: tuple(lacks)))
    door.tell_token()
    say(f"listening on {address}", err=True)

    async def draining(within: float) -> None:
        lacks[:] = ["draining"]
        await drain(within)

    return draining


async def _work(works: Worker, store: Store, concurrency: int, until_idle: bool) -> None:
    from supervisor.runtime.worker import poll

    jobs = _jobs_beside(store)
    if jobs is None:
        await poll(works, concurrency=concurrency, until_idle=until_idle)
        return
    async with jobs:
        await jobs.serve(works, concurrency=concurrency, until_idle=until_idle)


def _jobs_beside(store: Store) -> Jobs | None:
    """The queue beside a PostgreSQL store; a file has none, and none of it is imported."""
    from supervisor.store.sqlite import SqliteStore

    if isinstance(store, SqliteStore):
        return None
    from supervisor.runtime.jobs import Jobs
    from supervisor.store.postgres import PostgresStore

    return Jobs(store) if isinstance(store, PostgresStore) else None
