"""What other packages bring to the service, as it is seen from here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

from supervisor.runtime.account import Event
from supervisor.sidecar.events import Missed
from supervisor.sidecar.hook import Hook

__all__ = ["Source", "Window"]


class Window(Protocol):
    """Answers hooks: `supervisor.sidecar.desk.Desk`."""

    async def answer(self, hook: Hook, *, within: float | None = None) -> dict[str, object]:
        """The JSON for the agent's CLI, in time."""


class Source(Protocol):
    """Where events come from: `supervisor.sidecar.sidecar.Sidecar`."""

    def events(self) -> AsyncIterator[Event | Missed]:
        """What is found, decided and measured from now on, of all sessions."""
