"""`lucid run`: an agent on an objective, supervised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from supervisor.cli.exits import Exit, exit_of
from supervisor.cli.shared import fail, open_store, reporting, store_option

if TYPE_CHECKING:
    from claude_agent_sdk import PermissionMode

__all__ = ["run"]


@click.command(
    epilog="""\b
Exit codes:
  0  the objective was reached, as far as Lucid knows
  1  the agent gave up: a limit was hit, or a failure stayed unresolved
  2  usage: the command line, the policy or a setting is wrong; nothing was started
  3  the policy stopped the agent
  4  the infrastructure failed: the model's service, the CLI, the store"""
)
@click.argument("objective")
@click.option("--policy", metavar="F", help="A policy file, or a shipped policy's name.")
@store_option
@click.option("--model", metavar="M", help="The model to use.")
@click.option(
    "--max-turns", type=click.IntRange(min=1), metavar="N", help="Model calls at the most."
)
@click.option(
    "--cwd",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="D",
    help="Where the agent works.  [default: here]",
)
@click.option(
    "--allow", multiple=True, metavar="TOOL", help="A tool it may use unasked; repeatable."
)
@click.option(
    "--permission-mode",
    type=click.Choice(["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto"]),
    help="What the agent may do unasked.",
)
@click.option(
    "--mcp-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="F",
    help="MCP servers, as a JSON file.",
)
@click.option("--system-prompt", metavar="S", help="Replaces the agent's system prompt.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="P",
    help="Serve Prometheus metrics on 127.0.0.1:P/metrics.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON lines, for machines.")
@reporting
async def run(
    objective: str,
    policy: str | None,
    store: Path | None,
    model: str | None,
    max_turns: int | None,
    cwd: Path | None,
    allow: tuple[str, ...],
    permission_mode: str | None,
    mcp_config: Path | None,
    system_prompt: str | None,
    metrics_port: int | None,
    as_json: bool,
) -> int:
    """Run an agent on OBJECTIVE and supervise it to its end.

    The agent is Claude Code, driven through the Claude Agent SDK; it needs an
    ANTHROPIC_API_KEY, another way to sign in, or an ANTHROPIC_BASE_URL to talk to.
    """
    from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKError

    from supervisor.cli.preflight import preflight
    from supervisor.cli.telling import tell
    from supervisor.cli.terminal import terminal
    from supervisor.runtime.client import SupervisedClient
    from supervisor.settings import read_settings

    options = ClaudeAgentOptions(
        model=model,
        max_turns=max_turns,
        cwd=cwd,
        allowed_tools=list(allow),
        permission_mode=cast("PermissionMode | None", permission_mode),
        mcp_servers=mcp_config if mcp_config is not None else {},
        system_prompt=system_prompt,
    )
    await preflight(options)
    port = metrics_port if metrics_port is not None else read_settings().metrics_port
    if port is not None:
        from supervisor.metrics import serve_metrics

        serve_metrics(port)
    async with open_store(store) as kept:
        client = SupervisedClient(options, policy=policy, store=kept)
        try:
            state = await tell(client, objective, terminal(as_json))
        except ClaudeSDKError as error:
            return fail(str(error).split("\n")[0], Exit.BROKEN)
    return exit_of(state)
