"""`Service`: the parts that requests are answered with."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version

from supervisor.service.leaving import Leaving
from supervisor.service.live import Live
from supervisor.service.parts import Window
from supervisor.service.readiness import Readiness
from supervisor.store.interface import Store

__all__ = ["Service"]


@dataclass(frozen=True, kw_only=True)
class Service:
    """What a process shows; a worker has neither hooks nor events."""

    store: Store
    readiness: Readiness
    leaving: Leaving
    window: Window | None = None
    live: Live | None = None
    version: str = version("lucid-supervisor")
