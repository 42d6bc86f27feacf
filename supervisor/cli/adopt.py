"""`lucid adopt`: an agent that runs by itself goes on under the runner."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import click

from supervisor.cli.agent_options import Asked, agent_options, metrics_option, policy_option
from supervisor.cli.draining import grace_option
from supervisor.cli.exits import EXIT_CODES, Exit
from supervisor.cli.output import say, short
from supervisor.cli.resume import GoingOn, gone_on_with
from supervisor.cli.shared import fail, json_option, open_store, reporting, store_option

if TYPE_CHECKING:
    from supervisor.sidecar.adopting import BareAgent
    from supervisor.store.interface import SessionRow, Store

__all__ = ["adopt"]


@click.command(epilog=EXIT_CODES)
@click.argument("session")
@click.option("--say", "text", metavar="TEXT", help="A prompt for the agent, once it has gone on.")
@click.option("--yes", is_flag=True, help="Stop the agent without asking.")
@click.option(
    "--gone",
    is_flag=True,
    help="Its process has ended, wherever it ran: go on though none is found here.",
)
@policy_option
@store_option
@agent_options
@grace_option
@metrics_option
@json_option
@reporting
async def adopt(
    session: str,
    text: str | None,
    yes: bool,
    gone: bool,
    policy: str | None,
    store: str | None,
    grace: float,
    metrics_port: int | None,
    as_json: bool,
    **asked: Unpack[Asked],
) -> int:
    """Take over SESSION, which a sidecar watches: stop its agent, and go on under the runner,
    where it can be rolled back, restarted and resumed, too.

    The agent's process must be yours and on this host; you are asked before it is stopped.
    Its model and permission mode are taken over, but for 'bypassPermissions'; that, and tools,
    MCP servers and prompts that it was given on its command line, have to be given again.
    """
    from supervisor.cli.preflight import preflight
    from supervisor.core.session import SessionState
    from supervisor.runtime.submission import Submission
    from supervisor.sidecar.adopting import bare_agent, stop_agent

    async with open_store(store) as kept:
        row = await kept.session(session)
        if row.lease is not None:
            return fail(f"{row.lease.owner} runs the session already", Exit.ELSEWHERE)
        row = await _as_it_ran(kept, row)
        # What speaks against going on is to come up before the agent is stopped.
        await preflight((Submission.of(row) or Submission()).options(None))
        agent = bare_agent(row, _config())
        if agent is not None:
            _ask(row, agent, yes=yes)
            await stop_agent(agent)
            say(f"lucid: stopped process {agent.pid}", err=True)
        elif row.state is SessionState.RUNNING and not gone:
            return fail(
                f"the process of session {short(row.session_id)} is not found by what stands in "
                f"{_config()}: if it runs on another host, in another container or with another "
                "CLAUDE_CONFIG_DIR, adopt it there; if it has ended, add --gone",
                Exit.USAGE,
            )
        row = await kept.session(row.session_id)
        how = GoingOn(text=text, policy=policy, store=store, cwd=None, files=None, grace=grace)
        return await gone_on_with(row, kept, how, asked, metrics_port=metrics_port, as_json=as_json)


def _ask(row: SessionRow, agent: BareAgent, *, yes: bool) -> None:
    say(
        f"session {short(row.session_id)} runs in process {agent.pid}: {agent.command[:200]}",
        err=True,
    )
    if agent.busy:
        say("it is in the midst of a turn; a call that is cut off is to be verified then", err=True)
    if not yes:
        click.confirm("Stop it, and go on under Lucid?", abort=True, err=True)


async def _as_it_ran(kept: Store, row: SessionRow) -> SessionRow:
    """The session, with how its agent was run on record."""
    import msgspec

    from supervisor.sidecar.adopting import how_it_ran

    if row.submission is not None:
        return row
    ran = await how_it_ran(kept, row)
    await kept.update_session(row.session_id, submission=ran.text)
    return msgspec.structs.replace(row, submission=ran.text)


def _config() -> Path:
    """Where the CLI of this user keeps its files."""
    given = os.environ.get("CLAUDE_CONFIG_DIR")
    return Path(given) if given else Path.home() / ".claude"
