"""`forwarding`: a store around another, without a line for each method that only passes on."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from supervisor.store.interface import Store

__all__ = ["forwarding"]

_StoreT = TypeVar("_StoreT", bound=Store)


class _Wrapper(Protocol):
    inner: Store

    async def look_through(self) -> None: ...


def forwarding(cls: type[_StoreT]) -> type[_StoreT]:
    """Give `cls` what it does not have of a store: after `look_through`, that of `inner`."""
    for name in cls.__abstractmethods__:
        setattr(cls, name, _forward(name))
    return abc.update_abstractmethods(cls)


def _forward(name: str) -> Callable[..., Any]:
    async def call(self: _Wrapper, *args: object, **kwargs: object) -> object:
        await self.look_through()
        return await getattr(self.inner, name)(*args, **kwargs)

    return call
