"""Reaching a PostgreSQL server, and errors a person can act on."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from supervisor.core.text import one_line
from supervisor.errors import StoreAway, StoreError
from supervisor.store.postgres_query import Connection, Database

__all__ = ["Address", "connect", "explained", "has_broken", "prepare", "reach"]

log = logging.getLogger(__name__)

_DEFAULTS: dict[str, str | int] = {
    "application_name": "lucid",
    "connect_timeout": 10,
    # A server that vanishes from the network is given up after about half a minute.
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 30_000,
}
_PAUSE = 0.2
_LONGEST_PAUSE = 2.0

_REFUSED = (
    "authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "no password supplied",
)
"""What servers say to those who may not connect however often they try. A server that
speaks another language than English is tried in vain for the stated time."""

_AWAY = ("cannot be reached", "check that the server runs and that --store names it")
_FAILURES: dict[str, tuple[str, str]] = {
    "25006": ("is read-only", "a standby will not do, use the primary server as --store"),
    "42501": ("may not be used so", "grant its user the rights on the schema lucid"),
    "53100": (
        "cannot grow: the server's disk is full",
        "free some space and try again; what was stored before is safe",
    ),
    "57014": ("took too long to answer", "look for what holds locks or loads the server"),
    "XX001": ("is damaged", "restore a backup"),
    "XX002": ("is damaged", "restore a backup, or reindex what the server names"),
}
_OTHER_FAILURE = ("failed", "please report this as a bug of Lucid's")

_PASSING = ("25006", "25P03", "40", "53", "55P03", "57014", "58")
"""Codes, or classes of them, of what may end by itself or by an administrator's hand: a
standby that is about to be promoted, a conflict, lack of resources, a lock, a server that
is too slow, an error of its system. A lost connection is one too."""


class Address:
    """Where a store is. Its text form is fit to be shown: it holds no password."""

    def __init__(self, dsn: str) -> None:
        """`dsn` is a libpq connection URI. Raises `StoreError` for one that is none."""
        given = _parsed(dsn)
        if given is None:
            raise StoreError(
                "the --store is no address of a PostgreSQL database; write "
                "postgresql://user:password@host:5432/database, with other characters than "
                "letters and digits of the password percent-encoded (@ is %40)"
            )
        self.conninfo = make_conninfo(dsn, **{**_DEFAULTS, **given})
        """With its password: not to be shown."""
        self._shown = _shown(given)

    def __str__(self) -> str:
        return self._shown

    def __repr__(self) -> str:
        return f"Address({self._shown!r})"


def _parsed(dsn: str) -> dict[str, Any] | None:
    """The parts of an address; None where it is none. libpq's own words are not passed on:
    they would show the password, or take it for the host."""
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return None
    host, ports = str(parts.get("host", "")), str(parts.get("port", ""))
    sound = "@" not in host and all(port.isdigit() for port in ports.split(",") if port)
    return parts if sound else None


def _shown(given: Mapping[str, object]) -> str:
    """
    >>> _shown({"host": "db", "port": "5433", "dbname": "agents", "password": "secret"})
    'postgresql://db:5433/agents'
    >>> _shown({"host": "/run/postgresql", "dbname": "agents"})
    'postgresql:///agents?host=/run/postgresql'
    """
    host, database = str(given.get("host", "")), given.get("dbname", "")
    if host.startswith("/"):
        return f"postgresql:///{database}?host={host}"
    port = f":{given['port']}" if "port" in given else ""
    return f"postgresql://{host}{port}/{database}"


async def connect(address: Address, statement_timeout: timedelta) -> Connection:
    """A connection on which nothing waits for longer than `statement_timeout`.

    Each statement is a transaction of its own unless one is begun.
    """
    db = await psycopg.AsyncConnection.connect(
        address.conninfo, autocommit=True, row_factory=dict_row
    )
    try:
        await prepare(db, statement_timeout)
    except BaseException:
        await db.close()
        raise
    return db


async def prepare(db: Connection, statement_timeout: timedelta) -> None:
    """Make the settings of a new connection."""
    milliseconds = str(statement_timeout // timedelta(milliseconds=1))
    await Database(db).run("prepare_connection", statement_timeout=milliseconds)


async def reach(
    address: Address,
    within: timedelta,
    statement_timeout: timedelta,
    *,
    level: int = logging.WARNING,
) -> Connection:
    """`connect`, tried again and again `within` that time while the server is away, which is
    logged at this `level`."""
    give_up, pause = time.monotonic() + within.total_seconds(), _PAUSE
    while True:
        try:
            return await connect(address, statement_timeout)
        except psycopg.OperationalError as error:
            if _is_refused(error) or time.monotonic() + pause > give_up:
                raise
            if pause == _PAUSE:
                seconds = within.total_seconds()
                log.log(level, "%s; trying for %g s", _explanation(address, error), seconds)
        await asyncio.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE)


@contextmanager
def explained(address: Address) -> Iterator[None]:
    """Turn what goes wrong inside into a `StoreError`: what, where, what to do."""
    try:
        yield
    except psycopg.Error as error:
        kind = StoreAway if _may_pass(error) else StoreError
        raise kind(_explanation(address, error)) from error


def _may_pass(error: psycopg.Error) -> bool:
    return has_broken(error) or (error.sqlstate or "").startswith(_PASSING)


def _explanation(address: Address, error: psycopg.Error) -> str:
    what, advice = _FAILURES.get(error.sqlstate or "", _OTHER_FAILURE)
    if _is_refused(error):
        what, advice = "refuses the connection", "check user, password and database of --store"
    elif has_broken(error):
        what, advice = _AWAY
    return f"the store {address} {what} ({one_line(str(error), 300)}); {advice}"


def _is_refused(error: psycopg.Error) -> bool:
    return error.sqlstate is None and any(said in str(error) for said in _REFUSED)


def has_broken(error: psycopg.Error) -> bool:
    """Whether an error means that there is no connection any more: it was lost (no code of
    the server's, or one of class 08), or the server goes down (class 57P)."""
    if not isinstance(error, psycopg.OperationalError):
        return False
    return error.sqlstate is None or error.sqlstate.startswith(("08", "57P"))
