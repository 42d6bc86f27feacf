"""Signals to a process that has something to bring to an end first."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

PROGRAM = """
import asyncio, os, signal, sys
from supervisor.cli.draining import until_drained

ends = asyncio.Event()
told = []

async def work():
    os.kill(os.getpid(), signal.SIGTERM)
    await ends.wait()
    return 7

async def drain(within):
    told.append(round(within, 1))
    {drain}

code = asyncio.run(until_drained(work(), drain, grace={grace}))
print(told)
sys.exit(code)
"""


def ran(drain: str, grace: float = 10) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(drain=drain, grace=grace)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_signal_drains_with_some_time_kept_for_letting_go() -> None:
    ended = ran("ends.set()")

    assert (ended.returncode, ended.stdout) == (7, "[8.0]\n")
    assert ended.stderr == "lucid: SIGTERM: leaving in good order, grace 10 s\n"


@pytest.mark.parametrize("second", ["SIGTERM", "SIGINT"])
def test_a_second_signal_hurries(second: str) -> None:
    once = f"ends.set() if within == 0 else os.kill(os.getpid(), signal.{second})"

    ended = ran(once)

    assert (ended.returncode, ended.stdout) == (7, "[8.0, 0.0]\n")
    assert ended.stderr.splitlines()[-1] == f"lucid: {second}: hurrying"


def test_what_does_not_end_within_the_grace_is_ended() -> None:
    ended = ran("pass", grace=1)

    assert (ended.returncode, ended.stdout) == (75, "")
    assert ended.stderr.splitlines()[-1] == "lucid: the grace is over: leaving at once"


def test_without_a_signal_the_work_is_just_done() -> None:
    from supervisor.cli.draining import until_drained

    async def work() -> int:
        await asyncio.sleep(0)
        return 3

    async def drain(within: float) -> None:
        raise AssertionError

    assert asyncio.run(until_drained(work(), drain, grace=1)) == 3
