"""What the commands share: errors in one sentence, and the store they work on."""

from __future__ import annotations

import asyncio
import functools
import logging
import os
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say
from supervisor.errors import LeaseHeld, PolicyError, StoreError, SupervisorError

if TYPE_CHECKING:
    from supervisor.store.interface import Store

__all__ = [
    "fail",
    "json_option",
    "log_to_stderr",
    "open_store",
    "program",
    "reporting",
    "serve_metrics_at",
    "store_argument",
    "store_option",
]

Parameters = ParamSpec("Parameters")

store_option = click.option(
    "--store",
    metavar="F",
    help="Where sessions are kept: an SQLite file, or postgresql://USER@HOST/DATABASE.  "
    "[default: $LUCID_STORE, or lucid.db in your data folder]",
)

_PASSWORD = re.compile(r"(://[^:/@]*):[^@/]*(?=@)")

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print JSON lines, for machines."
)


def fail(message: str, code: Exit) -> Exit:
    """Say what is wrong on standard error; returns the exit code."""
    say(f"lucid: {message}", err=True)
    return code


def reporting(command: Callable[Parameters, Awaitable[int]]) -> Callable[Parameters, None]:
    """Run a command's coroutine, end the process with its exit code, and say every error
    that is expected in words instead of a traceback."""

    @functools.wraps(command)
    def run(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        sys.exit(_code(functools.partial(command, *args, **kwargs)))

    return run


def _code(command: Callable[[], Awaitable[int]]) -> int:
    try:
        log_to_stderr()
        return asyncio.run(_until_terminated(command))
    except PolicyError as error:
        say(str(error), err=True)
        count = len(error.problems)
        return fail(f"{count} fault{'s' * (count > 1)} in the policy, nothing done", Exit.USAGE)
    except LeaseHeld as error:
        return fail(str(error), Exit.ELSEWHERE)
    except StoreError as error:
        return fail(str(error), Exit.BROKEN)
    except SupervisorError as error:
        return fail(str(error), Exit.USAGE)
    except KeyboardInterrupt:
        return fail("interrupted", Exit.INTERRUPTED)
    except asyncio.CancelledError:
        return fail("terminated", Exit.TERMINATED)
    except BrokenPipeError:
        # What Python still wants to flush at its end must not fail as well.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return Exit.PIPE_CLOSED


async def _until_terminated(command: Callable[[], Awaitable[int]]) -> int:
    """On SIGTERM, leave as on Ctrl-C: an agent's process must not outlive its supervisor."""
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await command()


class _StandardError(logging.Handler):
    """Writes log lines as the commands write theirs."""

    def emit(self, record: logging.LogRecord) -> None:
        say(self.format(record), err=True)


def log_to_stderr(*, stays: bool = False) -> None:
    """Log as the settings say: where they say nothing, errors only. Whatever befalls a
    session is in its story, and what is logged as a warning stands there already. A process
    that `stays` has no story; it logs what it does. Nothing of a transcript is logged."""
    from supervisor.telemetry.logs import set_up_logs

    set_up_logs(_StandardError(), stays=stays)


def open_store(location: str | None) -> Store:
    """The store to work on, still closed: as told, or as the settings say."""
    from supervisor.settings import read_settings
    from supervisor.store.connect import store_at

    settings = read_settings()
    wait = timedelta(seconds=settings.store_wait_seconds)
    return store_at(location or settings.store, wait=wait)


def store_argument(location: str | Path | None) -> str:
    """What to add to a suggested command so that it finds this store; no password is in
    it."""
    if location is None:
        return ""
    shown = _PASSWORD.sub(r"\1", str(location))
    return f" --store {shlex.quote(shown)}"


def serve_metrics_at(port: int | None) -> None:
    """Serve metrics on this port, or where the settings say, if anywhere; say where."""
    from supervisor.settings import read_settings

    wanted = port if port is not None else read_settings().metrics_port
    if wanted is None:
        return
    from supervisor.metrics import serve_metrics

    say(f"metrics on http://127.0.0.1:{serve_metrics(wanted)}/metrics", err=True)


def program() -> str:
    """How this command is called, for suggestions that can be pasted."""
    called = sys.argv[0]
    if Path(called).name != "lucid" or shutil.which("lucid") == called:
        return "lucid"
    return shlex.quote(called)
