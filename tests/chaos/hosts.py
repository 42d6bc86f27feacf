"""Hosts on which workers run: each has a home, an environment and processes of its own."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from supervisor.testing import ScriptedModel
from tests.chaos.plan import Kill
from tests.chaos.processes import MARK, command_of, marked

__all__ = ["GRACE_SECONDS", "LEASE_SECONDS", "Host"]

LEASE_SECONDS = 1.5
GRACE_SECONDS = 5.0
_ENDS_WITHIN = 20.0
_KEPT = ("PATH", "PYTHONPATH")
"""What of our environment a host has, too."""


class Host:
    """One host; everything but the store and the story's log is its own."""

    def __init__(self, folder: Path, store: str, model: ScriptedModel) -> None:
        self.home = folder
        self.home.mkdir()
        self.work = folder / "work"
        self.work.mkdir()
        self._mark = str(uuid4())
        self._said = folder / "worker.err"
        self._env = {
            **{name: os.environ[name] for name in _KEPT if name in os.environ},
            "TMPDIR": str(folder),
            "LUCID_STORE": store,
            "LUCID_LEASE_SECONDS": str(LEASE_SECONDS),
            MARK: self._mark,
            **model.env(folder),
        }

    @property
    def said(self) -> str:
        """What its worker wrote to standard error."""
        return self._said.read_text(errors="replace") if self._said.exists() else ""

    @asynccontextmanager
    async def worker(self, **env: str) -> AsyncIterator[asyncio.subprocess.Process]:
        """A `lucid worker`; nothing of it is left in the end."""
        command = ("-m", "supervisor.cli", "worker", f"--grace={GRACE_SECONDS:g}")
        with self._said.open("ab") as said:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *(*command, f"--cwd={self.work}"),
                cwd=self.work,
                env=self._env | env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        try:
            yield process
        finally:
            self._kill_all()
            await process.wait()

    def _kill_all(self) -> None:
        while pids := marked(self._mark):
            for pid in pids:
                _send(pid, signal.SIGKILL)

    async def killed(self, worker: asyncio.subprocess.Process, kill: Kill) -> datetime:
        """Bring the worker's end about; returns when it came."""
        match kill:
            case "drain":
                _send(worker.pid, signal.SIGTERM)
                async with asyncio.timeout(_ENDS_WITHIN):
                    await worker.wait()
                return datetime.now(UTC)
            case "worker":
                at = datetime.now(UTC)
                _send(worker.pid, signal.SIGKILL)
            case "pod":
                # Looked for first, so that all die in the same millisecond.
                pids = marked(self._mark)
                at = datetime.now(UTC)
                for pid in pids:
                    _send(pid, signal.SIGKILL)
                self._kill_all()
        return at

    def left(self) -> list[str]:
        """The processes of its workers that are still alive."""
        return [command_of(pid) for pid in marked(self._mark)]


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return
