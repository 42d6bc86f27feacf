"""The options that say how an agent is to be run, for every command that runs one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, Unpack

import click

if TYPE_CHECKING:
    from supervisor.runtime.submission import Submission

__all__ = ["Asked", "agent_options", "cwd_option", "metrics_option", "policy_option", "submission"]

Command = TypeVar("Command", bound=Callable[..., Any])

_PERMISSION_MODES = ("default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto")


class Asked(TypedDict):
    """What the options of an agent were given as."""

    model: str | None
    max_turns: int | None
    max_budget: float | None
    allow: tuple[str, ...]
    permission_mode: str | None
    mcp_config: Path | None
    system_prompt: str | None
    label: tuple[str, ...]


policy_option = click.option(
    "--policy", metavar="F", help="A policy file, or a shipped policy's name."
)

cwd_option = click.option(
    "--cwd",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="D",
    help="Where the agent works.  [default: here]",
)

metrics_option = click.option(
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="P",
    help="Serve Prometheus metrics on 127.0.0.1:P/metrics; 0 picks a free port.",
)

_OPTIONS = (
    click.option("--model", metavar="M", help="The model to use."),
    click.option(
        "--max-turns",
        type=click.IntRange(min=1),
        metavar="N",
        help="Model calls at the most, Lucid's recoveries included.",
    ),
    click.option(
        "--max-budget",
        type=click.FloatRange(min=0, min_open=True),
        metavar="USD",
        help="Dollars at the most, as Claude Code counts them.",
    ),
    click.option(
        "--allow",
        multiple=True,
        metavar="TOOL",
        help="A tool it may use unasked; repeatable. Nobody is asked: what needs it is denied.",
    ),
    click.option(
        "--permission-mode",
        type=click.Choice(_PERMISSION_MODES),
        metavar="P",
        help=f"What else it may do unasked: {', '.join(_PERMISSION_MODES)}.",
    ),
    click.option(
        "--mcp-config",
        type=click.Path(path_type=Path, exists=True, dir_okay=False, resolve_path=True),
        metavar="F",
        help="MCP servers, as a JSON file.",
    ),
    click.option("--system-prompt", metavar="S", help="Replaces the agent's system prompt."),
    click.option(
        "--label",
        multiple=True,
        metavar="K=V",
        help="What the policy's rules may ask for, such as team=payments; repeatable.",
    ),
)


def agent_options(command: Command) -> Command:
    """Give a command the options of an agent; it gets them as `Asked`."""
    return functools.reduce(lambda to, option: option(to), reversed(_OPTIONS), command)


def submission(**asked: Unpack[Asked]) -> Submission:
    """What the options ask for, as it is kept with the session."""
    import msgspec

    from supervisor.runtime.submission import Submission

    mcp_config = asked["mcp_config"]
    given = {
        "model": asked["model"],
        "max_turns": asked["max_turns"],
        "max_budget_usd": asked["max_budget"],
        "allow": asked["allow"],
        "permission_mode": asked["permission_mode"],
        "mcp_config": None if mcp_config is None else str(mcp_config),
        "system_prompt": asked["system_prompt"],
        "labels": dict(map(_label, asked["label"])),
    }
    return msgspec.convert(given, Submission)


def _label(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        said = f"must be such as team=payments, not {text!r}"
        raise click.BadParameter(said, param_hint="--label")
    return name, value
