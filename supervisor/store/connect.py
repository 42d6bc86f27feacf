"""`store_at`: the store that a person means by a file or an address."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote

from supervisor.errors import StoreError
from supervisor.store.interface import Store

__all__ = ["store_at"]

_SCHEME = re.compile(r"(?P<scheme>[a-zA-Z][a-zA-Z0-9+.-]*)://")


def store_at(location: str | Path, *, wait: timedelta = timedelta(seconds=30)) -> Store:
    """The store at `location`, not open yet: a path or `sqlite:///PATH` is a SQLite file
    (`sqlite:////PATH` an absolute one), `postgresql://...` a PostgreSQL database, whose
    server `open` tries to reach for as long as `wait`.

    Raises `StoreError` for anything else.

    >>> store_at("sqlite:///sessions.db").path
    PosixPath('sessions.db')
    """
    found = _SCHEME.match(location) if isinstance(location, str) else None
    scheme = found["scheme"].lower() if found is not None else "file"
    address = str(location)[found.end() :] if found is not None else str(location)
    # Imported here: a database that is not used need not be there, nor cost its time.
    if scheme in ("postgresql", "postgres"):
        from supervisor.store.postgres import PostgresStore

        return PostgresStore(f"postgresql://{address}", connect_within=wait)
    from supervisor.store.sqlite import SqliteStore

    if scheme == "file":
        return SqliteStore(Path(location))
    if scheme == "sqlite" and address.startswith("/") and address != "/":
        return SqliteStore(Path(unquote(address[1:])))
    raise StoreError(
        f"no store can be kept at {scheme}://...; give --store a file's path, "
        "sqlite:///FILE or postgresql://USER@HOST/DATABASE"
    )
