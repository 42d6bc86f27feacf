"""`lucid run`: an agent on an objective, supervised."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from supervisor.cli.exits import MEANINGS, Exit
from supervisor.cli.output import say
from supervisor.cli.shared import (
    fail,
    json_option,
    open_store,
    reporting,
    store_argument,
    store_option,
)

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions, PermissionMode

__all__ = ["run"]

_PERMISSION_MODES = ("default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto")

_EXIT_CODES = "\n".join(f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items())


@click.command(epilog=f"\b\nExit codes:\n{_EXIT_CODES}")
@click.argument("objective")
@click.option("--policy", metavar="F", help="A policy file, or a shipped policy's name.")
@store_option
@click.option("--model", metavar="M", help="The model to use.")
@click.option(
    "--max-turns",
    type=click.IntRange(min=1),
    metavar="N",
    help="Model calls at the most, Lucid's recoveries included.",
)
@click.option(
    "--cwd",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="D",
    help="Where the agent works.  [default: here]",
)
@click.option(
    "--allow",
    multiple=True,
    metavar="TOOL",
    help="A tool it may use unasked; repeatable. Nobody is asked: what needs it is denied.",
)
@click.option(
    "--permission-mode",
    type=click.Choice(_PERMISSION_MODES),
    metavar="P",
    help=f"What else it may do unasked: {', '.join(_PERMISSION_MODES)}.",
)
@click.option(
    "--mcp-config",
    type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
    metavar="F",
    help="MCP servers, as a JSON file.",
)
@click.option("--system-prompt", metavar="S", help="Replaces the agent's system prompt.")
@click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="P",
    help="Serve Prometheus metrics on 127.0.0.1:P/metrics; 0 picks a free port.",
)
@json_option
@reporting
async def run(
    objective: str,
    policy: str | None,
    store: str | None,
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
    from claude_agent_sdk import ClaudeAgentOptions
    from claude_agent_sdk.types import SystemPromptPreset

    # The SDK's None is an agent without a system prompt; here it is Claude Code's own.
    own = SystemPromptPreset(type="preset", preset="claude_code")
    options = ClaudeAgentOptions(
        model=model,
        max_turns=max_turns,
        cwd=cwd,
        allowed_tools=list(allow),
        permission_mode=cast("PermissionMode | None", permission_mode),
        mcp_servers=mcp_config or {},
        system_prompt=own if system_prompt is None else system_prompt,
        stderr=lambda line: say(f"claude: {line}", err=True),
    )
    return await _supervised(objective, options, policy, store, metrics_port, as_json)


async def _supervised(
    objective: str,
    options: ClaudeAgentOptions,
    policy: str | None,
    store: str | None,
    metrics_port: int | None,
    as_json: bool,
) -> int:
    from claude_agent_sdk import ClaudeSDKError

    from supervisor.cli.preflight import preflight
    from supervisor.cli.telling import tell
    from supervisor.cli.terminal import terminal
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry
    from supervisor.runtime.client import SupervisedClient
    from supervisor.settings import read_settings

    settings = read_settings()
    loaded = load_policy(
        policy or settings.policy, detectors=registry.detectors(), actions=registry.actions()
    )
    await preflight(options)
    _serve_metrics(metrics_port if metrics_port is not None else settings.metrics_port)
    async with open_store(store) as kept:
        client = SupervisedClient(options, policy=loaded, store=kept)
        told = terminal(as_json=as_json)
        try:
            ending = await tell(client, objective, told, store=store_argument(store))
        except ClaudeSDKError as error:
            return fail(str(error).split("\n")[0], Exit.BROKEN)
    return ending.exit


def _serve_metrics(port: int | None) -> None:
    if port is None:
        return
    from supervisor.metrics import serve_metrics

    say(f"metrics on http://127.0.0.1:{serve_metrics(port)}/metrics", err=True)
