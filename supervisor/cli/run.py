"""`lucid run`: an agent on an objective, supervised."""

from __future__ import annotations

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
from supervisor.cli.exits import EXIT_CODES, Exit
from supervisor.cli.output import say
from supervisor.cli.shared import (
    fail,
    json_option,
    open_store,
    reporting,
    serve_metrics_at,
    store_argument,
    store_option,
)

if TYPE_CHECKING:
    from supervisor.runtime.runner import SessionRun

__all__ = ["run", "told_to_the_end"]


@click.command(epilog=EXIT_CODES)
@click.argument("objective")
@policy_option
@store_option
@cwd_option
@agent_options
@grace_option
@metrics_option
@json_option
@reporting
async def run(
    objective: str,
    policy: str | None,
    store: str | None,
    cwd: Path | None,
    grace: float,
    metrics_port: int | None,
    as_json: bool,
    **asked: Unpack[Asked],
) -> int:
    """Run an agent on OBJECTIVE and supervise it to its end.

    The agent is Claude Code, driven through the Claude Agent SDK; it needs an
    ANTHROPIC_API_KEY, another way to sign in, or an ANTHROPIC_BASE_URL to talk to.
    On SIGTERM its session is left so that 'lucid resume' goes on with it.
    """
    from dataclasses import replace

    import msgspec

    from supervisor.cli.preflight import preflight
    from supervisor.core.session import SessionState
    from supervisor.runtime.policies import chosen_policy
    from supervisor.runtime.runner import SessionRun
    from supervisor.runtime.submission import new_session

    asks = msgspec.structs.replace(submission(**asked), by="run")
    options = replace(asks.options(cwd), stderr=lambda line: say(f"claude: {line}", err=True))
    loaded = chosen_policy(policy)
    await preflight(options)
    serve_metrics_at(metrics_port)
    async with open_store(store) as kept:
        row = await new_session(kept, objective, asks, loaded, cwd=cwd, state=SessionState.RUNNING)
        return await told_to_the_end(
            # By its name, so that a file is read again when it changes.
            SessionRun(row, kept, options, policy),
            store=store,
            grace=grace,
            as_json=as_json,
        )


async def told_to_the_end(
    session: SessionRun, *, store: str | None, grace: float, as_json: bool
) -> int:
    """Run a session and tell its story; returns the exit code."""
    from claude_agent_sdk import ClaudeSDKError

    from supervisor.cli.telling import tell
    from supervisor.cli.terminal import terminal

    telling = tell(session, terminal(as_json=as_json), store=store_argument(store))
    try:
        ending = await until_drained(telling, session.drain, grace=grace)
    except ClaudeSDKError as error:
        return fail(str(error).split("\n")[0], Exit.BROKEN)
    return ending.exit
