"""A store's methods are made of functions of its database, and are called as `Store` says."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping

import pytest

from supervisor.store.interface import Store
from supervisor.store.postgres import PostgresStore
from supervisor.store.sqlite import SqliteStore


@pytest.mark.parametrize("store", [SqliteStore, PostgresStore])
@pytest.mark.parametrize("name", sorted(Store.__abstractmethods__))
def test_what_is_left_out_means_what_the_interface_says(name: str, store: type[Store]) -> None:
    asked, offered = _defaults(getattr(Store, name)), _defaults(getattr(store, name))
    assert offered.items() <= asked.items()


def _defaults(method: Callable[..., object]) -> Mapping[str, object]:
    given = inspect.signature(method).parameters.values()
    return {one.name: one.default for one in given if one.default is not one.empty}
