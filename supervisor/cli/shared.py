"""What the commands share: errors in one sentence, the store they work on."""

from __future__ import annotations

import asyncio
import functools
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from supervisor.cli.exits import Exit
from supervisor.errors import PolicyError, StoreError, SupervisorError

if TYPE_CHECKING:
    from supervisor.store.interface import Store

__all__ = ["fail", "open_store", "reporting", "store_option"]

Parameters = ParamSpec("Parameters")

store_option = click.option(
    "--store",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The SQLite file that sessions are kept in.  [default: $LUCID_STORE, or lucid.db in "
    "your data folder]",
)


def fail(message: str, code: Exit) -> int:
    """Say what is wrong on standard error; returns the exit code."""
    click.echo(f"lucid: {message}", err=True)
    return code


def reporting(command: Callable[Parameters, Awaitable[int]]) -> Callable[Parameters, None]:
    """Run a command's coroutine, end the process with its exit code, and say every error
    that is expected in words instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        sys.exit(_code(command, *args, **kwargs))

    return run


def _code(
    command: Callable[Parameters, Awaitable[int]],
    *args: Parameters.args,
    **kwargs: Parameters.kwargs,
) -> int:
    async def main() -> int:
        return await command(*args, **kwargs)

    try:
        return asyncio.run(main())
    except PolicyError as error:
        count = len(error.problems)
        click.echo(str(error), err=True)
        return fail(
            f"{count} fault{'s' * (count > 1)} in the policy; nothing was started", Exit.USAGE
        )
    except StoreError as error:
        return fail(str(error), Exit.BROKEN)
    except SupervisorError as error:
        return fail(str(error), Exit.USAGE)
    except KeyboardInterrupt:
        return fail("interrupted", Exit.INTERRUPTED)
    except BrokenPipeError:
        # The reader left (`lucid show … | head`): not ours to complain about.
        sys.stdout = None
        return Exit.REACHED


def open_store(path: Path | None) -> Store:
    """The store to work on, still closed: as told, or as the settings say."""
    from supervisor.settings import read_settings
    from supervisor.store.sqlite import SqliteStore

    return SqliteStore(path or read_settings().store)
