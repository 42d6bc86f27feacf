"""`Ground`: what the sessions of one followed folder stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from supervisor.core.lease import Lease, nobodys
from supervisor.core.session import SessionState
from supervisor.policy.model import Policy
from supervisor.policy.situation import Record
from supervisor.runtime.account import Event
from supervisor.runtime.bearings import chooses
from supervisor.runtime.escalation import told_before
from supervisor.runtime.supervision import Supervision
from supervisor.sidecar.control import HookControl
from supervisor.store.interface import SessionRow, Store

__all__ = ["Ground"]

_COMING = 8
"""Sessions whose past is in memory at the same time, in parts of some megabytes each."""


@dataclass
class Ground:
    """What the sessions of one folder have in common, and how one begins on it."""

    store: Store
    policy: Policy
    labels: Mapping[str, str]
    tell: Callable[[Event], None]
    now: Callable[[], datetime]
    record: Record
    """How often each action helped; see `Bearings.know`."""
    followed_at: datetime
    """When the folder was first followed, or little before, for clocks differ."""
    judged: dict[str, int] = field(default_factory=dict)
    """The newest entry that was judged of each session, by Lucid's id."""
    coming: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_COMING))
    """Held by a session whose past is read: when a sidecar begins, that may be all of them."""

    async def row(
        self, project_key: str, sdk_session_id: str, origin: str | None
    ) -> tuple[SessionRow, Lease]:
        """An SDK session, as it is in the store from now on, and the last lease on it: under
        that one, what we write is refused once a worker has taken the session. A fork that the
        SDK made belongs to the session of its `origin`."""
        session_id = await self.store.session_of(project_key, sdk_session_id)
        if session_id is None and origin is not None:
            session_id = await self.store.session_of(project_key, origin)
        row = await self.store.create_session(
            session_id or sdk_session_id, project_key=project_key, head=sdk_session_id
        )
        last = await self.store.lease(row.session_id)
        if last is not None:  # a worker that took the session in between is seen in its row
            row = await self.store.session(row.session_id)
        return row, last or nobodys(row.session_id)

    async def at_work(self, lease: Lease, head: str, folder: Path | None, *, stopped: bool) -> None:
        """Write down that an agent works on the session, in the transcript `head`. One that an
        action `stopped` stays so until its next turn begins."""
        await self.store.update_session(
            lease.session_id,
            lease=lease,
            state=None if stopped else SessionState.RUNNING,
            state_reason=None if stopped else "",
            head=head,
            cwd=str(folder) if folder is not None else None,
            policy=self.policy.model_dump_json(),
        )

    async def supervised(
        self, row: SessionRow, lease: Lease, sdk_session_id: str, folder: Path | None
    ) -> tuple[Supervision, HookControl]:
        """The supervision of a session, which knows what is in the store and writes under the
        lease, and the control of its agent, which works in `folder`."""
        control = HookControl(folder)
        supervision = Supervision(
            session_id=row.session_id,
            store=self.store,
            policy=self.policy,
            capabilities=control.capabilities,
            act=control.act,
            tell=self.tell,
            lease=lambda: lease,
            now=self.now,
            labels=self.labels,
            hand_over=f"lucid adopt {row.session_id}",
        )
        if chooses(self.policy):
            supervision.bearings.know(self.record)
        told = await told_before(self.store, row.session_id) if self.policy.escalation else ()
        control.begin(supervision, self.policy, self.store, told=told)
        if row.entries:
            await supervision.prime(sdk_session_id, self._judged_to(row, lease))
        return supervision, control

    def _judged_to(self, row: SessionRow, lease: Lease) -> int | None:
        """What of a session is known to have been judged; None where that is all of it.

        A session that began since its folder is followed, and that no worker ever ran, is
        this sidecar's: what is not marked of it was perhaps not judged."""
        judged = self.judged.get(row.session_id)
        if judged is not None:
            return judged
        is_ours = row.created_at >= self.followed_at
        return 0 if is_ours and not lease.epoch else None
