"""A store is named by a file or by an address."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import StoreError
from supervisor.store.connect import store_at
from supervisor.store.postgres import PostgresStore
from supervisor.store.sqlite import SqliteStore


@pytest.mark.parametrize(
    ("location", "path"),
    [
        (Path("a/store.db"), Path("a/store.db")),
        ("a/store.db", Path("a/store.db")),
        ("C:/store.db", Path("C:/store.db")),
        ("sqlite:///a/store.db", Path("a/store.db")),
        ("sqlite:////var/lib/my%20store.db", Path("/var/lib/my store.db")),
        (":memory:", None),
    ],
)
def test_a_path_is_a_sqlite_file(location: str | Path, path: Path | None) -> None:
    store = store_at(location)
    assert isinstance(store, SqliteStore)
    assert store.path == path


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "PostgreSQL"])
def test_an_address_is_a_postgresql_database(scheme: str) -> None:
    store = store_at(f"{scheme}://lucid:s3cret@db/agents")
    assert isinstance(store, PostgresStore)
    assert str(store.address) == "postgresql://db/agents"


@pytest.mark.parametrize(
    "location",
    ["mysql://root:s3cret@db/agents", "sqlite://store.db", "sqlite:///", "https://s3cret.example"],
)
def test_anything_else_is_refused_in_one_sentence(location: str) -> None:
    with pytest.raises(StoreError, match=r"no store can be kept at \w+://\.\.\.; give") as refusal:
        store_at(location)
    assert "s3cret" not in str(refusal.value)
