"""A PostgreSQL store's schema: made, brought up to date, or refused."""

from __future__ import annotations

from supervisor.errors import StoreError
from supervisor.store import refusal
from supervisor.store.postgres_query import Connection, Database
from supervisor.store.postgres_server import Address
from supervisor.store.statements import SQL, Scripts

__all__ = ["OLDEST_SERVER", "SCRIPTS", "migrate"]

SCRIPTS = Scripts(SQL / "postgres")
OLDEST_SERVER = 14
"""The oldest major version that the PostgreSQL project supported when this was written."""


async def migrate(connection: Connection, address: Address) -> None:
    """Bring a database of any older version, or one without our schema, to the latest.

    Raises `StoreError` for one that Lucid cannot use.
    """
    _refuse_server(connection, address)
    db = Database(connection)
    if await _version(db, address) == SCRIPTS.latest:
        return
    async with connection.transaction():
        await db.run("lock_schema")
        version = await _version(db, address)  # another process may just have done it
        if version < SCRIPTS.latest:
            await _run_scripts(connection, version)


async def _run_scripts(connection: Connection, version: int) -> None:
    db = Database(connection)
    if not (await db.one("schema_there"))["made"]:
        await db.run("create_schema")
    for script in SCRIPTS.after(version):
        await connection.execute(script.encode())
    await db.run("delete_version")
    await db.run("insert_version", number=SCRIPTS.latest)


async def _version(db: Database, address: Address) -> int:
    """The schema's version, 0 where there is none of our tables."""
    there = await db.one("schema_there")
    if there["used"] and not there["versioned"]:
        raise StoreError(
            f"the store {address} has a schema `lucid` that is another program's; use another "
            "database as --store"
        )
    if not there["versioned"]:
        return 0
    version = int((await db.one("version"))["number"])
    if version > SCRIPTS.latest:
        raise refusal.newer(str(address), version, SCRIPTS.latest)
    return version


def _refuse_server(connection: Connection, address: Address) -> None:
    major = connection.info.server_version // 10_000
    if major < OLDEST_SERVER:
        raise StoreError(
            f"the store {address} is PostgreSQL {major}; Lucid needs {OLDEST_SERVER} or newer"
        )
    encoding = connection.info.parameter_status("server_encoding")
    if encoding != "UTF8":
        raise StoreError(
            f"the store {address} has the encoding {encoding}, which cannot hold every text; "
            "create its database with: createdb --encoding=UTF8 --template=template0 NAME"
        )
