"""What can wait for a store: changes to one session, as values that can be kept and done."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast, get_args

import msgspec

from supervisor.core.lease import Lease
from supervisor.core.session import SessionState
from supervisor.privacy.keyring import keyring
from supervisor.store.interface import Recorded, Store, StoredEntry
from supervisor.store.rows import clean

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["Operation", "Record", "Update", "Write", "decoded", "encoded"]

_KINDS: dict[str, Any] = {kind.__name__: kind for kind in get_args(Recorded)}


class Write(msgspec.Struct, frozen=True, kw_only=True, tag="write"):
    """`Store.write`. Its batch makes it harmless to do it again."""

    key: dict[str, str]
    raws: tuple[bytes, ...]
    session_id: str | None
    inherited: bool | None
    offsets: tuple[int, ...] | None
    batch: str
    last_seq: int
    """The number of the session's newest entry after it, as it was told to the caller."""

    async def do(self, store: Store, lease: Lease) -> list[StoredEntry]:
        """Do it; returns the entries that were new."""
        return await store.write(
            cast("SessionKey", self.key),
            self.raws,
            session_id=self.session_id,
            inherited=self.inherited,
            offsets=self.offsets,
            batch=self.batch,
            lease=lease,
        )


class _Item(msgspec.Struct, frozen=True):
    """Something recorded. JSON of an agent's is kept apart, byte for byte: it need not be
    JSON to everyone."""

    kind: str
    body: msgspec.Raw
    apart: dict[str, bytes] = {}


class Record(msgspec.Struct, frozen=True, kw_only=True, tag="record"):
    """`Store.record`."""

    items: tuple[_Item, ...]

    @classmethod
    def of(cls, items: Sequence[Recorded]) -> Record:
        """To record these."""
        return cls(items=tuple(_item(item) for item in items))

    async def do(self, store: Store, lease: Lease) -> None:
        """Do it."""
        await store.record(*(_recorded(item) for item in self.items), lease=lease)


class Update(msgspec.Struct, frozen=True, kw_only=True, tag="update"):
    """`Store.update_session`."""

    session_id: str
    changes: dict[str, str]

    @classmethod
    def of(cls, session_id: str, changes: Mapping[str, str | None]) -> Update:
        """To change these columns; None leaves one as it is."""
        kept = {name: clean(value) for name, value in changes.items() if value is not None}
        return cls(session_id=session_id, changes=kept)

    async def do(self, store: Store, lease: Lease) -> None:
        """Do it."""
        changes: dict[str, Any] = dict(self.changes)
        if "state" in changes:
            changes["state"] = SessionState(changes["state"])
        await store.update_session(self.session_id, **changes, lease=lease)


Operation: TypeAlias = Write | Record | Update


def encoded(operation: Operation) -> bytes:
    """An operation as it is kept."""
    return keyring().seal(msgspec.json.encode(operation))


def decoded(kept: bytes) -> Operation:
    """The operation that was kept. Raises `msgspec.MsgspecError` for anything else, and
    `StoreError` where its key is not there."""
    operation: Operation = msgspec.json.decode(keyring().open(kept), type=Operation)
    return operation


def _item(item: Recorded) -> _Item:
    fields = {name: getattr(item, name) for name in item.__struct_fields__}
    apart = {name: bytes(raw) for name, raw in fields.items() if isinstance(raw, msgspec.Raw)}
    plain = msgspec.structs.replace(item, **dict.fromkeys(apart, msgspec.Raw(b"null")))
    try:
        body = msgspec.json.encode(plain)
    except UnicodeEncodeError:  # a lone surrogate, quoted from an agent
        body = _without_surrogates(plain)
    return _Item(type(item).__name__, msgspec.Raw(body), apart)


def _without_surrogates(item: Recorded) -> bytes:
    plain = msgspec.to_builtins(item, enc_hook=lambda raw: None)
    return json.dumps(plain, ensure_ascii=False).encode(errors="replace")


def _recorded(item: _Item) -> Recorded:
    value: Recorded = msgspec.json.decode(item.body, type=_KINDS[item.kind])
    return msgspec.structs.replace(
        value, **{name: msgspec.Raw(raw) for name, raw in item.apart.items()}
    )
