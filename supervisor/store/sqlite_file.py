"""Opening a SQLite store: permissions, checks, migrations, and errors a person can act on."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supervisor.errors import StoreAway, StoreError
from supervisor.store import refusal
from supervisor.store.statements import SQL, Scripts, split_script

__all__ = ["APPLICATION_ID", "SCRIPTS", "connect", "explained", "migrate", "transaction"]

APPLICATION_ID = 0x4C554344
"""`LUCD`: marks a SQLite file as a store of Lucid's."""

SCRIPTS = Scripts(SQL / "sqlite")

_FAILURES: dict[int, tuple[str, str]] = {
    sqlite3.SQLITE_BUSY: (
        "is locked by another process",
        "try again, or stop the process that holds it",
    ),
    sqlite3.SQLITE_CANTOPEN: (
        "cannot be opened",
        "check that its folder exists and that you may write there, or use another --store",
    ),
    sqlite3.SQLITE_CORRUPT: (
        "is damaged",
        "restore a backup, or save what can be with: sqlite3 FILE .recover",
    ),
    sqlite3.SQLITE_FULL: (
        "cannot grow: the disk is full",
        "free some space and try again; what was stored before is safe",
    ),
    sqlite3.SQLITE_IOERR: (
        "cannot be read or written",
        "check the disk; a network file system may not do, use a local --store",
    ),
    sqlite3.SQLITE_NOTADB: (
        "is not a store: the file is no SQLite database",
        "use another --store, or move the file away",
    ),
    sqlite3.SQLITE_READONLY: (
        "is read-only",
        "make the file and its folder writable, or use another --store",
    ),
}
_OTHER_FAILURE = ("failed", "please report this as a bug of Lucid's")

_PASSING = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_PROTOCOL,
    sqlite3.SQLITE_READONLY,
}
"""What may end without anyone touching the file's content."""


def connect(path: Path | None, busy_timeout: float) -> sqlite3.Connection:
    """Open the store at `path`, None for one in memory, and bring it up to date.

    `busy_timeout` is how many seconds to wait for another process's lock. Raises
    `StoreError`.
    """
    with explained(path):
        if path is not None:
            _create(path)
        db = sqlite3.connect(path or ":memory:", timeout=busy_timeout, isolation_level=None)
        try:
            _refuse_foreign(db, path)
            # Heeded while the file is still empty: what is deleted later can be given back.
            db.execute("PRAGMA auto_vacuum = INCREMENTAL")
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = FULL")
            db.execute("PRAGMA foreign_keys = ON")
            migrate(db)
        except BaseException:
            db.close()
            raise
    db.row_factory = sqlite3.Row
    return db


@contextmanager
def explained(path: Path | None) -> Iterator[None]:
    """Turn what goes wrong inside into a `StoreError`: what, where, what to do."""
    where = f"the store {path}" if path is not None else "the store in memory"
    try:
        yield
    except sqlite3.Error as error:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        what, advice = _FAILURES.get(code, _OTHER_FAILURE)
        kind = StoreAway if code in _PASSING else StoreError
        raise kind(f"{where} {what} ({error}); {advice}") from error
    except OSError as error:
        what, advice = _FAILURES[sqlite3.SQLITE_CANTOPEN]
        raise StoreAway(f"{where} {what} ({error.strerror}); {advice}") from error


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """All or nothing, with the write lock held from the start. Within another transaction it
    is part of that one."""
    if db.in_transaction:
        yield
        return
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        if db.in_transaction:  # SQLite has rolled back by itself on some failures
            db.execute("ROLLBACK")
        raise


def migrate(db: sqlite3.Connection) -> None:
    """Bring a database of any older version, or an empty one, to the latest."""
    if _pragma(db, "user_version") == SCRIPTS.latest:
        return
    with transaction(db):
        version = _pragma(db, "user_version")  # another process may just have done it
        for script in SCRIPTS.after(version):
            for statement in split_script(script):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {SCRIPTS.latest}")
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _create(path: Path) -> None:
    """Make the file, for its owner only; SQLite gives its companions the same mode."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))


def _refuse_foreign(db: sqlite3.Connection, path: Path | None) -> None:
    version, latest = _pragma(db, "user_version"), SCRIPTS.latest
    empty = db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if not empty and _pragma(db, "application_id") != APPLICATION_ID:
        raise StoreError(f"{path} is another program's database, not a store; use another --store")
    if version > latest:
        raise refusal.newer(str(path), version, latest)


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])
