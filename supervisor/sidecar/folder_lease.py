"""`FolderLeases`: leases on followed folders, as a `Hold` takes them."""

from __future__ import annotations

from datetime import timedelta

from supervisor.core.lease import Lease
from supervisor.store.interface import Store

__all__ = ["FolderLeases"]


class FolderLeases:
    """Gives leases whose `session_id` is a folder's name; see `runtime.hold.Leases`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        """See `Store.acquire_folder`."""
        lease = (await self._store.acquire_folder(session_id, owner=owner, ttl=ttl)).lease
        assert lease is not None
        return lease

    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        """See `Store.renew_folder`."""
        renewed = (await self._store.renew_folder(lease, ttl=ttl)).lease
        assert renewed is not None
        return renewed

    async def release_lease(self, lease: Lease) -> None:
        """See `Store.release_folder`."""
        await self._store.release_folder(lease)

    async def lease(self, session_id: str) -> Lease | None:
        """The newest lease on a folder."""
        folder = await self._store.folder(session_id)
        return folder.lease if folder is not None else None
