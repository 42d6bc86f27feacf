"""Stores to test, one kind after another. A new database joins by its own `Backend`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from supervisor.store.interface import Store
from supervisor.store.postgres import PostgresStore
from supervisor.store.sqlite import SqliteStore
from tests.postgres import PostgresServer, postgres_dsn, postgres_server

__all__ = ["postgres_dsn", "postgres_server"]


class Backend(ABC):
    """Opens stores and closes them all in the end."""

    def __init__(self, stack: AsyncExitStack) -> None:
        self._stack = stack

    async def fresh(self) -> Store:
        """A new, empty store."""
        return await self._stack.enter_async_context(self._new())

    async def again(self, store: Store) -> Store:
        """A second connection to the same store."""
        return await self._stack.enter_async_context(self._same(store))

    @abstractmethod
    def location(self, store: Store) -> str:
        """Where a store is, for another process."""

    @abstractmethod
    def _new(self) -> Store: ...

    @abstractmethod
    def _same(self, store: Store) -> Store: ...


class SqliteBackend(Backend):
    """Stores in files of their own."""

    def __init__(self, stack: AsyncExitStack, folder: Path) -> None:
        super().__init__(stack)
        self._folder = folder
        self._count = 0

    def _new(self) -> Store:
        self._count += 1
        return SqliteStore(self._folder / f"{self._count}.db")

    def _same(self, store: Store) -> Store:
        return SqliteStore(Path(self.location(store)))

    def location(self, store: Store) -> str:
        assert isinstance(store, SqliteStore)
        return str(store.path)


class PostgresBackend(Backend):
    """Stores in databases of their own on one server."""

    def __init__(self, stack: AsyncExitStack, server: PostgresServer) -> None:
        super().__init__(stack)
        self._server = server
        self._dsns: dict[Store, str] = {}

    def _new(self) -> Store:
        return self._at(self._stack.enter_context(self._server.database()))

    def _same(self, store: Store) -> Store:
        return self._at(self.location(store))

    def location(self, store: Store) -> str:
        return self._dsns[store]

    def _at(self, dsn: str) -> Store:
        store = PostgresStore(dsn)
        self._dsns[store] = dsn
        return store


@pytest.fixture(params=["sqlite", "postgres"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        if request.param == "sqlite":
            yield SqliteBackend(stack, tmp_path)
        else:
            yield PostgresBackend(stack, request.getfixturevalue("postgres_server"))


@pytest.fixture
async def store(backend: Backend) -> Store:
    return await backend.fresh()
