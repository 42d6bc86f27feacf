"""The processes of one worker: itself and all that it started, whoever adopted it since."""

from __future__ import annotations

import os
from pathlib import Path

from supervisor.runtime.keeper_process import processes

__all__ = ["MARK", "command_of", "marked"]

MARK = "CHAOS_WORKER"
"""A variable in a worker's environment, which all that it starts inherits."""


def marked(mark: str) -> list[int]:
    """The live processes that belong to the worker of this mark."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid, _, _ in processes() if pid != os.getpid() and wanted in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def command_of(pid: int) -> str:
    """The command line of a process, for a person."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    except OSError:
        return f"process {pid}"
