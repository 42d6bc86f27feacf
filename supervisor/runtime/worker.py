"""`Worker`: takes queued and orphaned sessions from the store, some at once.

Whose a session is, its lease alone decides: two workers may reach for the same one, and
the second finds it held.
"""

from __future__ import annotations

import asyncio
import logging
import random
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import ClassVar

from claude_agent_sdk import ClaudeSDKError

from supervisor.core.session import SessionState
from supervisor.errors import (
    LeaseHeld,
    LeaseLost,
    PolicyError,
    StoreError,
    SupervisorError,
    TranscriptError,
)
from supervisor.metrics import METRICS
from supervisor.runtime.hold import Hold
from supervisor.runtime.policies import policy_of
from supervisor.runtime.reload import StandingPolicy
from supervisor.runtime.runner import OPEN, Finish, SessionEnded, SessionRun
from supervisor.runtime.submission import Submission
from supervisor.settings import read_settings
from supervisor.store.interface import SessionRow, Store

__all__ = ["Worker", "poll"]

log = logging.getLogger(__name__)

_AFTER_A_FAILURE = timedelta(seconds=5)
"""How long a store that failed is left in peace."""

_CANDIDATES = 100
_LOST_STARTS = 5
"""How often a session may be taken without its agent getting as far as a first entry. A
session that kills its worker would otherwise kill one after the other."""


class Worker:
    """Runs sessions of one store in this process."""

    LOOK_EVERY: ClassVar[timedelta] = timedelta(seconds=1)
    """How often the store is asked for sessions to take, give or take a half, so that many
    workers do not ask in step."""

    def __init__(
        self,
        store: Store,
        *,
        elsewhere: Path | None = None,
        adopts: bool = False,
        policy: StandingPolicy | None = None,
    ) -> None:
        """`elsewhere`: where sessions work whose folder is not on this host; None leaves
        them to other workers. `adopts`: take sessions of `lucid run`, too. `policy` takes the
        place of the one that each session was submitted with."""
        self._policy = policy
        self._store = store
        self._elsewhere = elsewhere
        self._adopts = adopts
        self._runs: dict[str, SessionRun | None] = {}
        self._left: set[str] = set()
        self._left_running: set[str] = set()
        self.draining = asyncio.Event()
        """Set once no further session is taken."""

    @property
    def running(self) -> int:
        """How many sessions it runs now."""
        return len(self._runs)

    @property
    def resumable(self) -> int:
        """How many sessions it left in the midst of their work, when it was drained."""
        return len(self._left_running)

    async def candidates(self) -> list[SessionRow]:
        """The sessions that it could take now: the highest priority first, then the oldest."""
        rows = await self._store.runnable(_CANDIDATES + len(self._left))
        free = [row for row in rows if row.session_id not in self._runs and self._is_ours(row)]
        return sorted(free, key=lambda row: -_priority(row))

    def _is_ours(self, row: SessionRow) -> bool:
        if row.session_id in self._left:
            return False
        reason = self._why_not(row)
        if reason is not None:
            self._left.add(row.session_id)
            log.warning("session %s is left alone: %s", row.session_id, reason)
        return reason is None

    def _why_not(self, row: SessionRow) -> str | None:
        try:
            submission = Submission.of(row)
        except SupervisorError as error:
            return str(error)
        if submission is not None and submission.by == "run" and not self._adopts:
            return "'lucid run' began it; go on with 'lucid resume', or give this worker --adopt"
        if self._folder(row) is None:
            return f"its folder {row.cwd} is not on this host; give --cwd to have it run elsewhere"
        return None

    def _folder(self, row: SessionRow) -> Path | None:
        own = Path(row.cwd) if row.cwd is not None else Path.cwd()
        return own if own.is_dir() else self._elsewhere

    async def take(self, session_id: str) -> None:
        """Run a session to its end, or until this worker is drained.

        One that is not to be had, any more or yet, is none of its business; one that
        cannot be run is left `broken`, with the reason.
        """
        if self.draining.is_set() or session_id in self._runs:
            return
        self._runs[session_id] = None
        try:
            await self._take(session_id)
        except (LeaseHeld, SessionEnded, TranscriptError) as error:
            log.debug("session %s is not to be had: %s", session_id, error)
        except LeaseLost as error:
            log.warning("session %s was taken over: %s", session_id, error)
        except StoreError as error:
            log.error("session %s is left as it is: %s", session_id, error)
            await self.pause(_AFTER_A_FAILURE)
        finally:
            del self._runs[session_id]

    async def _take(self, session_id: str) -> None:
        row = await self._store.session(session_id)
        if row.state not in OPEN or row.lease is not None or not self._is_ours(row):
            return
        try:
            await self._refuse_what_never_starts(row)
            self._runs[session_id] = run = await self._run_of(row)
            if self.draining.is_set():
                return
            log.info("session %s taken: %s", session_id, row.state)
            finish = await run.run()
        except (LeaseHeld, LeaseLost, SessionEnded, StoreError):
            raise
        except PolicyError as error:
            await self._give_up(row, f"its policy cannot be used here: {error.problems[0].reason}")
        except Exception as error:  # one session's fault is not the others'
            expected = isinstance(error, SupervisorError | ClaudeSDKError | OSError)
            log.debug("session %s", session_id, exc_info=error)
            what = str(error).split("\n")[0]
            await self._give_up(row, what if expected else f"{type(error).__name__}: {what}")
        else:
            self._finished(row, finish)

    async def _run_of(self, row: SessionRow) -> SessionRun:
        options = (Submission.of(row) or Submission()).options(self._folder(row))
        options.stderr = lambda line: log.info("session %s: claude: %s", row.session_id, line)
        policy = policy_of(row) if self._policy is None else await self._policy.newest()
        return SessionRun(row, self._store, options, policy, claims=True)

    def _finished(self, row: SessionRow, finish: Finish) -> None:
        if finish.is_resumable:
            self._left_running.add(row.session_id)
        why = f" ({finish.reason})" if finish.reason else ""
        log.info("session %s left: %s%s", row.session_id, finish.state, why)

    async def _refuse_what_never_starts(self, row: SessionRow) -> None:
        last = await self._store.lease(row.session_id)
        if row.entries == 0 and last is not None and last.epoch >= _LOST_STARTS:
            raise SupervisorError(
                f"taken {last.epoch} times, and its agent never got to a first entry"
            )

    async def _give_up(self, row: SessionRow, reason: str) -> None:
        """Leave the session broken, unless another worker has it by now."""
        ttl = timedelta(seconds=read_settings().lease_seconds)
        hold = Hold(self._store, row.session_id, ttl, on_lost=lambda error: None)
        await hold.begin()
        try:
            await self._store.update_session(
                row.session_id,
                state=SessionState.BROKEN,
                state_reason=reason,
                lease=hold.lease,
            )
        finally:
            await hold.end()
        log.error("session %s is broken: %s", row.session_id, reason)

    async def drain(self, within: float) -> None:
        """Take no new session, and leave those at work within so many seconds for others
        to go on with. Called again with less time, it hurries."""
        self.draining.set()
        runs = [run for run in self._runs.values() if run is not None]
        drains = (run.drain(within) for run in runs)
        for failed in await asyncio.gather(*drains, return_exceptions=True):
            if isinstance(failed, Exception):
                log.error("a session was not drained in good order: %s", failed)

    async def pause(self, about: timedelta, *also: asyncio.Task[None]) -> None:
        """Wait for about so long, but not once this worker is drained or one of the tasks
        is done."""
        seconds = about.total_seconds() * random.uniform(0.5, 1.5)
        drained = asyncio.create_task(self.draining.wait())
        await asyncio.wait({drained, *also}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        drained.cancel()


def _priority(row: SessionRow) -> int:
    submission = Submission.of(row)
    return submission.priority if submission is not None else 0


async def poll(worker: Worker, *, concurrency: int, until_idle: bool = False) -> None:
    """Have the worker run what is to be had, at most `concurrency` sessions at once, until
    it is drained. With `until_idle` until there is nothing left to do, or the store fails
    (`StoreError`), which otherwise is waited for."""
    look = worker.candidates if until_idle else partial(_candidates, worker)
    tasks: set[asyncio.Task[None]] = set()
    try:
        while not worker.draining.is_set():
            found = await look() if len(tasks) < concurrency else []
            for row in found[: concurrency - len(tasks)]:
                tasks.add(asyncio.create_task(worker.take(row.session_id)))
            if until_idle and not tasks:
                return
            await worker.pause(worker.LOOK_EVERY, *tasks)
            tasks = {task for task in tasks if not task.done()}
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _candidates(worker: Worker) -> list[SessionRow]:
    try:
        return await worker.candidates()
    except StoreError as error:
        METRICS.store_errors.labels("look").inc()
        log.error("no session can be taken: %s", error)
        await worker.pause(_AFTER_A_FAILURE)
        return []
