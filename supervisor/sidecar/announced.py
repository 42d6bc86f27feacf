"""`Announced`: sessions whose first prompt came before their transcript."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from supervisor.errors import StoreError
from supervisor.sidecar.hook import Hook

__all__ = ["Announced"]

log = logging.getLogger(__name__)

_WAIT_SECONDS = 60.0
"""For how long a transcript is waited for: the CLI writes it about 0.1 s after its hooks were
answered (measured on CLI 2.1.330), those of others among them, which may take 60 s."""
_LOOK_SECONDS = 0.02
_MOST = 256
"""At a time; one more is found by its file alone, like an agent without hooks."""


class Announced:
    """Waits for transcripts, and has each session `begun` as soon as its own is there. One
    that never comes leaves no trace."""

    def __init__(
        self, is_expected: Callable[[Hook], bool], begun: Callable[[Hook], Awaitable[None]]
    ) -> None:
        """`is_expected` says whether a hook's transcript may still come; `begun` hears of a
        hook for which it does not any more, because it is there or nobody will follow it."""
        self._is_expected = is_expected
        self._begun = begun
        self._waiting: dict[str, asyncio.Task[None]] = {}

    def add(self, hook: Hook) -> None:
        """A session's first prompt has come; returns at once."""
        if hook.session_id in self._waiting or len(self._waiting) >= _MOST:
            return
        task = self._waiting[hook.session_id] = asyncio.create_task(self._wait(hook))
        task.add_done_callback(lambda _: self._waiting.pop(hook.session_id, None))

    async def has_begun(self, hook: Hook, within: float) -> bool:
        """Whether the hook's session was announced, and its transcript is there by now or in
        so many seconds. An agent that is at work without one keeps none, and is not waited for
        any more."""
        task = self._waiting.get(hook.session_id)
        if task is None:
            return False
        await asyncio.wait({task}, timeout=within)
        if not self._is_expected(hook):
            return True
        task.cancel()
        return False

    async def _wait(self, hook: Hook) -> None:
        until = time.monotonic() + _WAIT_SECONDS
        while self._is_expected(hook):
            if time.monotonic() > until:
                return
            await asyncio.sleep(_LOOK_SECONDS)
        try:
            await self._begun(hook)
        except StoreError as error:
            log.error("session %s: its first prompt is not recorded: %s", hook.session_id, error)
        except Exception:  # the session is followed by its file all the same
            log.exception("session %s: its first prompt is not recorded", hook.session_id)
