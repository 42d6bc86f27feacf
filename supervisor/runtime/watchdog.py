"""`Watchdog`: tells when an agent in the midst of its turn has been silent for too long."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Literal

from supervisor.policy.model import Silence

__all__ = ["Watchdog"]

Doing = Literal["nothing", "model", "tool"]

_LOOKS = 4
"""How often it looks in the shortest limit's time: an agent is caught that much late."""


class Watchdog:
    """Watches one agent, from process to process."""

    def __init__(
        self,
        limits: Silence,
        *,
        doing: Callable[[], Doing],
        on_silent: Callable[[timedelta], Awaitable[None]],
    ) -> None:
        """`doing` says what the agent is silent in; `nothing` is no silence. `on_silent` is
        told after how long, once for each silence."""
        self._limits = {"model": limits.model, "tool": limits.tool}
        self._doing = doing
        self._on_silent = on_silent
        self._heard_at = 0.0

    def heard(self) -> None:
        """The agent gave a sign of life. O(1)."""
        self._heard_at = asyncio.get_running_loop().time()

    async def watch(self) -> None:
        """Watch until cancelled."""
        self.heard()
        pause = min(self._limits.values()).total_seconds() / _LOOKS
        while True:
            await asyncio.sleep(pause)
            doing = self._doing()
            if doing == "nothing":
                self.heard()
                continue
            quiet = asyncio.get_running_loop().time() - self._heard_at
            if quiet >= self._limits[doing].total_seconds():
                await self._on_silent(timedelta(seconds=quiet))
                self.heard()
