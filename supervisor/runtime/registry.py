"""Finds detectors and actions: those Lucid ships, and those of other distributions.

Lucid's own are the modules of the packages `detectors` and `recovery`, one class each.
Other distributions register theirs under the entry point groups `lucid.detectors` and
`lucid.actions`. A plugin that cannot be loaded, or that takes a name already taken, is
left out and logged: it must not keep agents from starting.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import MappingProxyType
from typing import TypeVar

from supervisor.core.action import Action
from supervisor.core.detector import Detector

__all__ = ["actions", "detectors"]

log = logging.getLogger(__name__)

_Plugin = TypeVar("_Plugin", bound=type[Detector] | type[Action])


@cache
def detectors() -> MappingProxyType[str, type[Detector]]:
    """Every usable detector class by its name."""
    return MappingProxyType(_by_name(_found("detectors", Detector, "lucid.detectors")))


@cache
def actions() -> MappingProxyType[str, type[Action]]:
    """Every usable action class by its name."""
    return MappingProxyType(_by_name(_found("recovery", Action, "lucid.actions")))


def _by_name(found: Iterator[tuple[str, _Plugin]]) -> dict[str, _Plugin]:
    named: dict[str, _Plugin] = {}
    for source, plugin in found:
        if plugin.name in named:
            log.error(
                "%s is left out: the name %r is already taken by %s",
                source,
                plugin.name,
                named[plugin.name].__module__,
            )
            continue
        named[plugin.name] = plugin
    return named


def _found(package: str, base: type, group: str) -> Iterator[tuple[str, type]]:
    for info in pkgutil.iter_modules(importlib.import_module(package).__path__):
        module = importlib.import_module(f"{package}.{info.name}")
        for value in vars(module).values():
            if _is_plugin(value, base) and value.__module__ == module.__name__:
                yield module.__name__, value
    for point in sorted(entry_points(group=group), key=lambda point: point.name):
        plugin = _loaded(point, base)
        if plugin is not None:
            yield f"{point.value} ({point.dist.name if point.dist else group})", plugin


def _loaded(point: EntryPoint, base: type) -> type | None:
    try:
        plugin = point.load()
    except Exception:
        log.exception("%s is left out: %s cannot be imported", point.value, point.name)
        return None
    if not _is_plugin(plugin, base):
        log.error("%s is left out: not a class that implements %s", point.value, base.__name__)
        return None
    assert isinstance(plugin, type)
    return plugin


def _is_plugin(value: object, base: type) -> bool:
    return (
        inspect.isclass(value)
        and issubclass(value, base)
        and not inspect.isabstract(value)
        and isinstance(getattr(value, "name", None), str)
        and hasattr(value, "failure_mode" if base is Detector else "needs")
    )
