"""`PolicyWatch`: a policy whose files change while it is in use.

Looked at every few seconds, by time stamp and size: file events do not reach everywhere that
policies are kept (network file systems, mounted configuration of a cluster).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path

from supervisor.errors import PolicyError
from supervisor.metrics import METRICS
from supervisor.policy.load import Loaded, read_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry

__all__ = ["EVERY_SECONDS", "PolicyWatch", "StandingPolicy"]

log = logging.getLogger(__name__)

EVERY_SECONDS = 2.0
"""How often the files are looked at: soon enough for somebody who waits for it."""

_Stamp = tuple[int, int, int] | None


class StandingPolicy:
    """A policy that sessions begin under, one after the other, each as it is by then."""

    def __init__(self, source: Path | str) -> None:
        """Raises `PolicyError` where it has faults."""
        self._source = source
        self._loaded = self._read()

    async def newest(self) -> Loaded:
        """As its files say now; where they have faults, as it was before, loudly."""
        try:
            self._loaded = await asyncio.to_thread(self._read)
        except PolicyError as error:
            _refused(error)
        else:
            METRICS.policy_reload_successful.set(1)
        return self._loaded

    def _read(self) -> Loaded:
        return read_policy(self._source, detectors=registry.detectors(), actions=registry.actions())


class PolicyWatch:
    """Hands over the policy each time that its files have changed and are sound."""

    def __init__(
        self,
        loaded: Loaded,
        take: Callable[[Policy], Awaitable[None]],
        refuse: Callable[[str], Awaitable[None]],
    ) -> None:
        """`take` gets a new policy, `refuse` hears in one sentence why there is none."""
        self._own = loaded.files[0]
        # Not looked at yet: it may have changed since it was read, or be read no more.
        self._stamps: dict[Path, _Stamp] = dict.fromkeys(loaded.files)
        self._policy = loaded.policy
        self._take = take
        self._refuse = refuse

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await asyncio.sleep(EVERY_SECONDS)
            await self.look()

    async def look(self) -> bool:
        """Look once; returns whether another policy was handed over. A file with faults
        is told once, and leaves the policy as it is."""
        stamps = _stamps(self._stamps)
        if stamps == self._stamps:
            return False
        self._stamps = stamps
        try:
            loaded = await asyncio.to_thread(
                read_policy,
                self._own,
                detectors=registry.detectors(),
                actions=registry.actions(),
            )
        except PolicyError as error:
            await self._refuse(_refused(error))
            return False
        # Files that were written while they were read are read again next time.
        known = {file: stamp for file, stamp in stamps.items() if file in loaded.files}
        self._stamps = {**_stamps(loaded.files), **known}
        METRICS.policy_last_reload.set_to_current_time()
        METRICS.policy_reload_successful.set(1)
        if loaded.policy == self._policy:
            return False
        self._policy = loaded.policy
        log.info("the policy %s has changed and is in use", self._own)
        await self._take(loaded.policy)
        return True


def _refused(error: PolicyError) -> str:
    """Makes it known that a changed policy is not used; returns what to say of it."""
    METRICS.policy_reload_failures.inc()
    METRICS.policy_reload_successful.set(0)
    first, count = error.problems[0], len(error.problems)
    more = f", and {count - 1} more faults" if count > 1 else ""
    said = f"the changed policy is refused, the one before stays in use: {first}{more}"
    log.error("%s", said)
    return said


def _stamps(files: Iterable[Path]) -> dict[Path, _Stamp]:
    return {file: _stamp(file) for file in files}


def _stamp(file: Path) -> _Stamp:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
