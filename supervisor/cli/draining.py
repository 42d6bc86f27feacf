"""Leaving in good order when told to: what is at work is drained within a time of grace."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import TypeVar

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say

__all__ = ["grace_option", "until_drained"]

log = logging.getLogger(__name__)

Result = TypeVar("Result")

_GRACE_SECONDS = 25.0
"""Kubernetes kills 30 s after SIGTERM, and `docker stop` can be told to."""

_TO_DISCONNECT = 0.2
"""The part of the grace that is kept for letting go of what was drained."""
_LONGEST_TO_DISCONNECT = 5.0

grace_option = click.option(
    "--grace",
    type=click.FloatRange(min=1, max=86_400),
    default=_GRACE_SECONDS,
    show_default=True,
    metavar="S",
    help="Seconds to leave in good order after SIGTERM.",
)


async def until_drained(
    work: Coroutine[object, object, Result],
    drain: Callable[[float], Awaitable[None]],
    *,
    grace: float,
    signals: Iterable[signal.Signals] = (signal.SIGTERM,),
) -> Result:
    """Do the work; on the first of the signals, `drain` it within so many seconds, so that
    it returns. A second signal, SIGINT too, hurries. Where the grace is over and it has not
    returned, the process ends on the spot, resumable."""
    loop = asyncio.get_running_loop()
    told: asyncio.Queue[signal.Signals] = asyncio.Queue()
    for number in signals:
        loop.add_signal_handler(number, told.put_nowait, number)
    working = loop.create_task(work)
    listening = loop.create_task(_drained(working, drain, told, grace))
    try:
        return await working
    finally:
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)


async def _drained(
    working: asyncio.Task[Result],
    drain: Callable[[float], Awaitable[None]],
    told: asyncio.Queue[signal.Signals],
    grace: float,
) -> None:
    number = await told.get()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, told.put_nowait, signal.SIGINT)
    say(f"lucid: {number.name}: leaving in good order, grace {grace:g} s", err=True)
    within = grace - min(grace * _TO_DISCONNECT, _LONGEST_TO_DISCONNECT)
    draining = {asyncio.ensure_future(drain(within)), loop.create_task(_hurried(drain, told))}
    try:
        async with asyncio.timeout(grace):
            await asyncio.wait({working})
    except TimeoutError:
        _leave_at_once()
    finally:
        for task in draining:
            task.cancel()


async def _hurried(
    drain: Callable[[float], Awaitable[None]], told: asyncio.Queue[signal.Signals]
) -> None:
    while True:
        number = await told.get()
        say(f"lucid: {number.name}: hurrying", err=True)
        await drain(0.0)


def _leave_at_once() -> None:
    """End the process; its agents end with it, and its leases when their time is over."""
    say("lucid: the grace is over: leaving at once", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(Exit.RESUMABLE)
