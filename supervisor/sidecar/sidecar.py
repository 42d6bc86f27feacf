"""`Sidecar`: follows the transcripts of agents as they are."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from supervisor.errors import StoreError
from supervisor.policy.load import Loaded
from supervisor.policy.model import Policy
from supervisor.policy.reach import RunMode, out_of_reach
from supervisor.runtime import registry
from supervisor.runtime.account import Event
from supervisor.runtime.bearings import chooses, record_in
from supervisor.runtime.reload import PolicyWatch
from supervisor.settings import Settings
from supervisor.sidecar.events import Events, Missed
from supervisor.sidecar.following import SILENT_SECONDS, Following
from supervisor.sidecar.ground import Ground
from supervisor.sidecar.hook import Hook
from supervisor.sidecar.sessions import FollowedSession
from supervisor.sidecar.tuning import tune
from supervisor.sidecar.watching import SUFFIX, Watch
from supervisor.store.interface import Store

__all__ = ["Sidecar"]

log = logging.getLogger(__name__)


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Sidecar:
    """Follows folders of transcripts; an async context manager. The store is open, and stays
    open.

    Each folder is followed by one sidecar of a store: another one stands by, and takes over
    when the first lets go, or is gone for the settings' `lease_seconds`.
    """

    def __init__(
        self,
        *,
        store: Store,
        folders: Sequence[Path],
        policy: Loaded | Policy,
        settings: Settings,
        watch: Watch = "auto",
        silent_seconds: float = SILENT_SECONDS,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """A policy that was read from files (`read_policy`) is read again when they change.
        `watch` may be `poll` where file events are known not to come, as on network file
        systems. A session that is silent for `silent_seconds`, or four times as long in the
        midst of a turn, is taken to have ended."""
        self._store = store
        self._settings = settings
        self._loaded = policy if isinstance(policy, Loaded) else Loaded(policy, ())
        self._now = now
        self._events = Events()
        self._following = [
            Following(
                folder,
                self._ground(),
                watch=watch,
                ttl=timedelta(seconds=settings.lease_seconds),
                silent_seconds=silent_seconds,
            )
            for folder in _apart(folders)
        ]
        self._policy_watch: asyncio.Task[None] | None = None
        self._is_draining = False

    def _ground(self) -> Ground:
        return Ground(
            store=self._store,
            policy=self._loaded.policy,
            labels=self._settings.labels,
            tell=self._events.tell,
            now=self._now,
            record={},
            followed_at=datetime.max.replace(tzinfo=UTC),
        )

    async def __aenter__(self) -> Self:
        """Begin. Returns at once: `not_ready` says what is still to come. Sets the
        interpreter up for many sessions (`tune`)."""
        _say_what_is_passed_over(self._loaded.policy)
        tune()
        for following in self._following:
            following.begin()
        self._policy_watch = asyncio.create_task(self._follow_policy())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._end()

    async def _follow_policy(self) -> None:
        if chooses(self._loaded.policy):
            with suppress(StoreError):
                record = await record_in(self._store)
                for following in self._following:
                    following.know(record)
        if self._loaded.files:
            await PolicyWatch(self._loaded, self._use, _refused).run()

    async def _use(self, policy: Policy) -> None:
        _say_what_is_passed_over(policy)
        for following in self._following:
            await following.use(policy)

    @property
    def sessions(self) -> Sequence[FollowedSession]:
        """The sessions that are in memory just now."""
        return [
            session
            for following in self._following
            for session in following.sessions.values()
            if session.is_open
        ]

    @property
    def refused(self) -> int:
        """Paths so far that led out of the folders."""
        return sum(following.refused for following in self._following)

    async def session_for(self, hook: Hook) -> FollowedSession | None:
        """The session whose hook this is, in memory; None where its transcript is not below a
        folder that this sidecar follows just now, or another worker has the session, or there
        is no transcript and never was one. Raises `StoreError`."""
        found = self._place(hook)
        if found is None:
            return None
        following, path = found
        if hook.session_id not in following.sessions and not await self._is_known(hook, path):
            return None
        return await following.session_for(path, hook.session_id, hook.agent_id)

    def expects(self, hook: Hook) -> bool:
        """Whether the hook's session would be followed, if only its transcript were there."""
        found = self._place(hook)
        if found is None:
            return False
        following, path = found
        is_its = path.name == f"{hook.session_id}{SUFFIX}"
        is_there = os.path.lexists(path)
        return is_its and not is_there and not following.not_ready() and _leads_nowhere_else(path)

    def _place(self, hook: Hook) -> tuple[Following, Path] | None:
        """Where the hook's transcript stands by its own word, and whose folder that is."""
        if self._is_draining or not hook.transcript_path:
            return None
        path = Path(hook.transcript_path)
        for following in self._following:
            below = following.below(path)
            if below is not None:
                return following, below
        return None

    async def _is_known(self, hook: Hook, path: Path) -> bool:
        if _is_file(path):
            return True
        return await self._store.session_of(path.parent.name, hook.session_id) is not None

    def not_ready(self) -> tuple[str, ...]:
        """Why it is not ready, in sentences; empty where it is."""
        reasons = [following.not_ready() for following in self._following]
        if self._is_draining:
            reasons.append("the sidecar is draining")
        return tuple(reason for reason in reasons if reason)

    def events(self) -> AsyncIterator[Event | Missed]:
        """What is found, decided and comes of it from now on, in all sessions. A subscriber
        that is slow loses the oldest, and is told so."""
        return self._events.listen()

    async def drain(self, grace: float) -> None:
        """Take no hook any more, judge what is there in at most `grace` seconds, and let go;
        what is not judged by then is judged by the next sidecar."""
        self._is_draining = True
        try:
            async with asyncio.timeout(grace):
                for following in self._following:
                    await following.read_now()
        except TimeoutError:
            log.warning("not all that was written could be judged in %g s", grace)
        await self._end()

    async def _end(self) -> None:
        if self._policy_watch is not None:
            self._policy_watch.cancel()
            await asyncio.gather(self._policy_watch, return_exceptions=True)
        for following in self._following:
            await following.end()
        self._events.close()


def _say_what_is_passed_over(policy: Policy) -> None:
    """One line, since every start says it, and the shipped policies are meant for the runner
    as well."""
    found = list(out_of_reach(policy, RunMode.SIDECAR, actions=registry.actions()))
    for lack in found:
        log.debug("policy: %s", lack)
    if found:
        log.info(
            "policy: out of a sidecar's reach, and passed over: %s; what needs the agent's process "
            "can be done after 'lucid adopt SESSION', or under 'lucid run', and 'lucid policy "
            "check POLICY --for sidecar' says which rungs these are",
            ", ".join(dict.fromkeys(action for lack in found for action in lack.actions)),
        )


async def _refused(said: str) -> None:
    """The log has it, and `/metrics`."""


def _is_file(path: Path) -> bool:
    return path.is_file()


def _leads_nowhere_else(path: Path) -> bool:
    """Whether no link stands on the way to it."""
    return os.path.realpath(path) == str(path)


def _apart(folders: Sequence[Path]) -> list[Path]:
    """The folders without those that stand below another of them."""
    whole = {Path(folder).expanduser().absolute() for folder in folders}
    return sorted(one for one in whole if not any(one.is_relative_to(o) for o in whole - {one}))
