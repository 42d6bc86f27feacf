"""Stores to test, one kind after another. A new database joins by its own `Backend`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from supervisor.store.interface import Store
from supervisor.store.sqlite import SqliteStore


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
        assert isinstance(store, SqliteStore)
        return SqliteStore(store.path)


@pytest.fixture(params=["sqlite"])
async def backend(tmp_path: Path) -> AsyncIterator[Backend]:
    async with AsyncExitStack() as stack:
        yield SqliteBackend(stack, tmp_path)


@pytest.fixture
async def store(backend: Backend) -> Store:
    return await backend.fresh()
