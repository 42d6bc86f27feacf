"""`Jobs`: sessions handed to many workers, by Procrastinate over PostgreSQL.

A job carries its session's id and nothing else. It says that there may be something to do;
what there is to do, the store says, and who may do it, the session's lease. So a job that
is lost, doubled or late does no harm: workers look for sessions that have none, and queue
them.
"""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from procrastinate import App
from procrastinate.exceptions import AlreadyEnqueued, ConnectorException
from procrastinate.jobs import DeleteJobCondition, Status
from procrastinate.worker import Worker as JobWorker

from supervisor.core.text import one_line
from supervisor.errors import StoreError
from supervisor.metrics import METRICS
from supervisor.runtime.jobs_database import JobsConnector, prepare
from supervisor.runtime.submission import Submission
from supervisor.settings import read_settings
from supervisor.store.interface import SessionRow
from supervisor.store.postgres import PostgresStore

if TYPE_CHECKING:  # `lucid submit` adds jobs, and need not wait for all that runs one
    from supervisor.runtime.worker import Worker

__all__ = ["QUEUE", "Jobs"]

log = logging.getLogger(__name__)

QUEUE = "lucid"
_TASK = "lucid.run_session"

_HEARTBEATS = 3
"""Signs of life in a lease's time, as a session's hold gives them."""
_NEVER_PRUNED = timedelta(days=1)
"""Whose heartbeat is older is struck off. Much older than stalled, since one that comes
back after the server was away could not fetch jobs any more."""
_AFTER_A_FAILURE = timedelta(seconds=5)


class Jobs:
    """The queue beside one store. Use it as an async context manager."""

    def __init__(self, store: PostgresStore) -> None:
        self._address = store.address
        self._connector = JobsConnector(store.address)
        self._app = App(connector=self._connector)

    async def __aenter__(self) -> Self:
        await prepare(self._address)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._connector.close_async()

    async def add(self, session: SessionRow) -> None:
        """Queue a session, if it is not queued already. Raises `StoreError`."""
        submission = Submission.of(session) or Submission()
        deferrer = self._app.configure_task(
            _TASK,
            queue=QUEUE,
            priority=submission.priority,
            lock=session.session_id,
            queueing_lock=session.session_id,
        )
        try:
            await deferrer.defer_async(session=session.session_id)
        except AlreadyEnqueued:
            log.debug("session %s is queued already", session.session_id)
        except ConnectorException as error:
            raise self._failed(error) from error

    def _failed(self, error: ConnectorException) -> StoreError:
        why = one_line(str(error.__cause__ or error), 300)
        return StoreError(f"the queue beside the store {self._address} failed: {why}")

    async def serve(self, worker: Worker, *, concurrency: int, until_idle: bool = False) -> None:
        """Have the worker run what is queued, at most `concurrency` sessions at once, until
        it is drained; with `until_idle`, until there is nothing left to do."""
        lease = read_settings().lease_seconds

        async def run_session(session: str) -> None:
            await worker.take(session)

        self._app.task(name=_TASK, queue=QUEUE)(run_session)
        jobs = JobWorker(
            self._app,
            queues=[QUEUE],
            name="lucid",
            concurrency=concurrency,
            fetch_job_polling_interval=worker.LOOK_EVERY.total_seconds(),
            delete_jobs=DeleteJobCondition.ALWAYS,
            install_signal_handlers=False,
            update_heartbeat_interval=lease / _HEARTBEATS,
            stalled_worker_timeout=_NEVER_PRUNED.total_seconds(),
        )
        serving = asyncio.create_task(self._served(jobs, worker))
        try:
            await self._look_after(worker, lease, until_idle)
            worker.draining.set()
            jobs.stop()  # type: ignore[no-untyped-call] # Procrastinate's to annotate
            await serving
        finally:
            serving.cancel()

    async def _served(self, jobs: JobWorker, worker: Worker) -> None:
        while not worker.draining.is_set():
            try:
                await jobs.run()  # type: ignore[no-untyped-call] # likewise
            except ConnectorException as error:
                log.error("%s", self._failed(error))
                await worker.pause(_AFTER_A_FAILURE)

    async def _look_after(self, worker: Worker, lease: float, until_idle: bool) -> None:
        """See to it that every session that is to be had has a job that can be fetched."""
        while not worker.draining.is_set():
            try:
                await self._drop_stalled(lease)
                found = await worker.candidates()
                for session in found:
                    await self.add(session)
            except StoreError as error:
                if until_idle:
                    raise
                METRICS.store_errors.labels("look").inc()
                log.error("no session can be queued: %s", error)
                await worker.pause(_AFTER_A_FAILURE)
                continue
            if until_idle and not found and not worker.running:
                return
            await worker.pause(worker.LOOK_EVERY)

    async def _drop_stalled(self, lease: float) -> None:
        """Drop the jobs of workers that give no sign of life: their locks hold up others.
        They are not retried, since the session may have been queued again by now."""
        manager = self._app.job_manager
        try:
            stalled = await manager.get_stalled_jobs(queue=QUEUE, seconds_since_heartbeat=lease)
        except ConnectorException as error:
            raise self._failed(error) from error
        for job in stalled:
            log.warning("job %s is dropped: its worker gives no sign of life", job.id)
            try:
                await manager.finish_job(job, Status.ABORTED, delete_job=True)
            except ConnectorException as error:
                log.debug("job %s is gone already: %s", job.id, error.__cause__)
