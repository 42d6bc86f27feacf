"""Lucid's queue beside a PostgreSQL store: its schema, its jobs, and those it drops."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psycopg
import pytest

from supervisor.core.session import SessionState
from supervisor.errors import StoreError
from supervisor.runtime import jobs_database
from supervisor.runtime.jobs import Jobs
from supervisor.runtime.policies import chosen_policy
from supervisor.runtime.submission import Submission, new_session
from supervisor.runtime.worker import Worker
from supervisor.store.interface import SessionRow
from supervisor.store.postgres import PostgresStore
from tests.postgres import PostgresServer, postgres_dsn, postgres_server

__all__ = ["postgres_dsn", "postgres_server"]

pytestmark = pytest.mark.anyio


@pytest.fixture
async def store(postgres_dsn: str) -> AsyncIterator[PostgresStore]:
    async with PostgresStore(postgres_dsn) as store:
        yield store


async def queued(store: PostgresStore, folder: Path, **asked: int) -> SessionRow:
    return await new_session(
        store,
        "Do it.",
        Submission(**asked),
        chosen_policy("observe"),
        cwd=folder,
        state=SessionState.QUEUED,
    )


async def rows(dsn: str, query: str) -> list[tuple[object, ...]]:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        cursor = await connection.execute(query.encode())
        return await cursor.fetchall() if cursor.description is not None else []


async def test_its_tables_are_made_once_and_in_a_schema_of_their_own(
    store: PostgresStore, postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    before = postgres_server.dump(postgres_dsn)
    await asyncio.gather(*(jobs_database.prepare(store.address) for _ in range(3)))
    made = postgres_server.dump(postgres_dsn)
    await jobs_database.prepare(store.address)

    assert postgres_server.dump(postgres_dsn) == made
    added = {line for line in made.splitlines() if line.startswith("CREATE ")}
    added -= {line for line in before.splitlines() if line.startswith("CREATE ")}
    assert added
    assert [line for line in added if f"{jobs_database.SCHEMA}" not in line] == []


async def test_a_schema_of_an_older_procrastinate_gets_the_scripts_it_lacks(
    store: PostgresStore, postgres_dsn: str
) -> None:
    await jobs_database.prepare(store.address)
    newest = [path.name for path in jobs_database._migrations()]
    await rows(postgres_dsn, f"COMMENT ON SCHEMA lucid_jobs IS '{newest[-2]}'")

    await jobs_database.prepare(store.address)

    (said,) = await rows(postgres_dsn, "SELECT obj_description('lucid_jobs'::regnamespace)")
    assert said == (newest[-1],)


async def test_a_user_who_may_not_make_it_is_told_what_to_have_made(
    store: PostgresStore, postgres_dsn: str, postgres_server: PostgresServer
) -> None:
    database = postgres_dsn.partition("@/")[2].partition("?")[0]
    await rows(
        postgres_dsn,
        "DO $$ BEGIN CREATE ROLE guest LOGIN; EXCEPTION WHEN duplicate_object THEN END $$",
    )
    guest = PostgresStore(postgres_server.dsn(database, user="guest"))

    with pytest.raises(StoreError, match="CREATE SCHEMA lucid_jobs AUTHORIZATION"):
        await jobs_database.prepare(guest.address)


async def test_a_session_is_queued_once_with_its_id_alone_and_its_priority(
    store: PostgresStore, postgres_dsn: str, tmp_path: Path
) -> None:
    row = await queued(store, tmp_path, priority=7)
    async with Jobs(store) as jobs:
        await jobs.add(row)
        await jobs.add(row)

    found = await rows(
        postgres_dsn,
        "SELECT queue_name, args, priority, lock, queueing_lock FROM lucid_jobs.procrastinate_jobs",
    )
    own = row.session_id
    assert found == [("lucid", {"session": own}, 7, own, own)]


async def test_what_is_queued_without_a_job_is_found_and_no_job_is_left(
    store: PostgresStore, postgres_dsn: str, tmp_path: Path
) -> None:
    gone = str(tmp_path / "gone.json")
    row = await new_session(
        store,
        "Do it.",
        Submission(mcp_config=gone),
        chosen_policy("observe"),
        cwd=tmp_path,
        state=SessionState.QUEUED,
    )
    async with asyncio.timeout(30), Jobs(store) as jobs:
        await jobs.serve(Worker(store), concurrency=2, until_idle=True)

    assert (await store.session(row.session_id)).state is SessionState.BROKEN
    assert await rows(postgres_dsn, "SELECT id FROM lucid_jobs.procrastinate_jobs") == []
    assert await rows(postgres_dsn, "SELECT id FROM lucid_jobs.procrastinate_workers") == []


async def test_the_job_of_a_dead_worker_holds_nobody_up(
    store: PostgresStore, postgres_dsn: str, tmp_path: Path
) -> None:
    row = await new_session(
        store,
        "Do it.",
        Submission(mcp_config=str(tmp_path / "gone.json")),
        chosen_policy("observe"),
        cwd=tmp_path,
        state=SessionState.QUEUED,
    )
    async with asyncio.timeout(30), Jobs(store) as jobs:
        await jobs.add(row)
        await rows(
            postgres_dsn,
            "WITH dead AS (INSERT INTO lucid_jobs.procrastinate_workers (last_heartbeat) "
            "VALUES (now() - interval '1 hour') RETURNING id) "
            "SELECT set_config('search_path', 'lucid_jobs', false), id FROM dead; "
            "UPDATE procrastinate_jobs SET status = 'doing', worker_id = "
            "(SELECT min(id) FROM procrastinate_workers)",
        )
        await jobs.serve(Worker(store), concurrency=2, until_idle=True)

    assert (await store.session(row.session_id)).state is SessionState.BROKEN
    assert await rows(postgres_dsn, "SELECT id FROM lucid_jobs.procrastinate_jobs") == []


async def test_a_drained_worker_stops_serving(store: PostgresStore) -> None:
    worker = Worker(store)
    async with asyncio.timeout(30), Jobs(store) as jobs:
        serving = asyncio.create_task(jobs.serve(worker, concurrency=1))
        while not jobs._connector._connections._free:  # noqa: ASYNC110 - it has begun to work
            await asyncio.sleep(0.01)
        await worker.drain(1.0)
        await serving


def test_a_command_that_needs_no_queue_does_not_import_it() -> None:
    script = (
        "import sys, supervisor.cli.work, supervisor.runtime.worker\n"
        "print('procrastinate' in sys.modules)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout == "False\n"
