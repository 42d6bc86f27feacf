"""Lucid: a reliability supervisor for AI agents.

It wraps Claude Agent SDK sessions, keeps their transcript as the durable log, detects
cognitive failures in it and applies targeted recovery::

    from supervisor import SupervisedClient

    async with SupervisedClient(options) as client:
        await client.query("Find out why the build failed")
        async for message in client.receive_response():
            ...
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from supervisor.errors import (
        ActionError,
        LeaseHeld,
        LeaseLost,
        PolicyError,
        StoreError,
        SupervisorError,
        TranscriptError,
    )
    from supervisor.runtime.client import SupervisedClient
    from supervisor.runtime.query import supervised_query

__all__ = [
    "ActionError",
    "LeaseHeld",
    "LeaseLost",
    "PolicyError",
    "StoreError",
    "SupervisedClient",
    "SupervisorError",
    "TranscriptError",
    "supervised_query",
]

_HOMES = {
    "SupervisedClient": "supervisor.runtime.client",
    "supervised_query": "supervisor.runtime.query",
}


def __getattr__(name: str) -> Any:
    # The client brings the Agent SDK with it: only those who use it wait for that.
    if name not in __all__:
        raise AttributeError(f"module 'supervisor' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES.get(name, "supervisor.errors")), name)
