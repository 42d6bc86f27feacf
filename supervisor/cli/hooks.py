"""`lucid hooks`: what an agent's settings need so that a sidecar can steer it."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypedDict, TypeVar, Unpack

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say
from supervisor.cli.shared import reporting

__all__ = ["hooks"]

Command = TypeVar("Command", bound=Callable[..., Any])

_LONGEST = 24 * 3600
_VARIABLE = re.compile(r"[A-Z_][A-Z0-9_]*")
"""What the CLI takes for a variable in a header (2.1.330)."""


class _Posted(TypedDict):
    """What the options that say where hooks are posted were given as."""

    url: str | None
    token_file: Path | None
    token_env: str | None
    timeout: int
    stop_timeout: int


_TOKEN_FILE = click.option(
    "--token-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="F",
    help="The sidecar's token, which the agents' is made from.  [default: the one that a "
    "sidecar of yours uses]",
)
_OPTIONS = (
    click.option(
        "--url",
        metavar="U",
        help="Where the sidecar answers hooks.  [default: /hooks where LUCID_LISTEN says, else "
        "http://127.0.0.1:7311/hooks]",
    ),
    _TOKEN_FILE,
    click.option(
        "--token-env",
        metavar="NAME",
        help="Leave the token out of the settings: the agent has it in this variable.",
    ),
    click.option(
        "--timeout",
        type=click.IntRange(1, 60),
        default=3,
        show_default=True,
        metavar="S",
        help="Seconds that an agent waits at each hook for a sidecar that hangs.",
    ),
    click.option(
        "--stop-timeout",
        type=click.IntRange(1, _LONGEST),
        default=60,
        show_default=True,
        metavar="S",
        help="The same at its stop, where the policy's checks run.",
    ),
)


def _posting(command: Command) -> Command:
    return functools.reduce(lambda to, option: option(to), reversed(_OPTIONS), command)


@click.group()
def hooks() -> None:
    """Have agents post their hooks to a sidecar, so that it can steer them."""


@hooks.command("print", short_help="Print the settings that an agent needs.")
@_posting
@reporting
async def print_(**posted: Unpack[_Posted]) -> int:
    """Print the settings that have an agent post its hooks to the sidecar. The agents' token
    is among them, unless it is left to a variable."""
    import json

    click.echo(
        json.dumps({"hooks": {event: [one] for event, one in _hooks(posted).items()}}, indent=2)
    )
    return Exit.REACHED


@hooks.command(short_help="Print the token that agents post their hooks with.")
@_TOKEN_FILE
@reporting
async def token(token_file: Path | None) -> int:
    """Print the token that agents post their hooks with, for the variable of --token-env. It is
    made from the sidecar's, and good for nothing else."""
    from supervisor.service.token import find_token, hooks_token
    from supervisor.settings import read_settings

    click.echo(hooks_token(find_token(read_settings(), token_file).value))
    return Exit.REACHED


@hooks.command(short_help="Put the hooks into a settings file, or take them out.")
@click.option(
    "--project",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    metavar="D",
    help="For the agents that work in this folder: its .claude/settings.local.json, which is "
    "nobody else's.",
)
@click.option("--user", is_flag=True, help="For all agents of yours: ~/.claude/settings.json.")
@click.option("--uninstall", is_flag=True, help="Take them out again.")
@_posting
@reporting
async def install(
    project: Path | None, user: bool, uninstall: bool, **posted: Unpack[_Posted]
) -> int:
    """Put the hooks into a settings file of Claude Code's, in place of those that Lucid put
    there before, or take them out. All else in the file stays as it is, byte for byte.

    An agent that runs already takes them when it is started anew.
    """
    from supervisor.sidecar.agent_settings import change

    if (project is None) == (not user):
        raise click.UsageError("give either --project D or --user")
    path = _user_settings() if project is None else _project_settings(project)
    changed = change(path, None if uninstall else _hooks(posted))
    done = {(True, False): "put into", (True, True): "taken out of"}.get((changed, uninstall))
    if done is not None:
        say(f"Lucid's hooks were {done} {path}")
    elif uninstall:
        say(f"no hooks of Lucid's are in {path}")
    else:
        say(f"Lucid's hooks are in {path} already, just so")
    if not uninstall and posted["token_env"] is None:
        _warn_of_token(path, in_project=project is not None)
    return Exit.REACHED


def _warn_of_token(path: Path, *, in_project: bool) -> None:
    if in_project:
        say(f"it holds the token of the hooks: keep {path.name} out of version control", err=True)
    if path.stat().st_mode & 0o077:
        say(
            "others on this host may read it, and the token in it: 'chmod 600' it, or leave the "
            "token to a variable with --token-env",
            err=True,
        )


def _hooks(posted: _Posted) -> dict[str, dict[str, Any]]:
    from supervisor.service.token import find_token, hooks_token
    from supervisor.settings import read_settings
    from supervisor.sidecar.snippet import hooks_for

    settings = read_settings()
    variable = posted["token_env"]
    if variable is not None and not _VARIABLE.fullmatch(variable):
        raise click.BadParameter(
            "must be such as LUCID_TOKEN: capitals, digits and underscores",
            param_hint="--token-env",
        )
    token = None
    if variable is None:
        token = hooks_token(find_token(settings, posted["token_file"]).value)
    return hooks_for(
        posted["url"] or _url(settings.listen),
        token=token,
        token_env=variable,
        seconds=posted["timeout"],
        stop_seconds=posted["stop_timeout"],
    )


def _url(listen: str) -> str:
    """Where a sidecar that listens there answers hooks of agents on its host."""
    from supervisor.errors import SupervisorError
    from supervisor.service.address import read_address

    address = read_address(listen)
    if address.path is not None or address.port == 0:
        raise SupervisorError(
            f"a sidecar that listens on {listen} cannot be named in an agent's settings: Claude "
            "Code posts hooks to http:// and https:// addresses only. Have it listen on "
            "127.0.0.1:PORT as well, or name the way to it with --url."
        )
    if address.host in {"0.0.0.0", "::"}:
        address = address._replace(host="127.0.0.1" if address.host == "0.0.0.0" else "::1")
    return f"{address}/hooks"


def _user_settings() -> Path:
    given = os.environ.get("CLAUDE_CONFIG_DIR")
    return (Path(given) if given else Path.home() / ".claude") / "settings.json"


def _project_settings(folder: Path) -> Path:
    """A project's settings may be anybody's work: they must not lead elsewhere."""
    from supervisor.errors import SupervisorError

    folder = folder.resolve()
    path = folder / ".claude" / "settings.local.json"
    if not path.resolve().is_relative_to(folder):
        raise SupervisorError(f"{path} leads out of the project, to {path.resolve()}: left alone")
    return path
