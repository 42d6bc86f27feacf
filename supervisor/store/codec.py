"""How raw entries become bytes and back, and what a store reads in them."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, cast

import msgspec

from supervisor.privacy.keyring import keyring

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey, SessionStoreEntry

__all__ = ["Identity", "decode", "encode", "identify", "key_of", "pack", "place_of", "unpack"]

_COMPRESS_FROM = 4096
_LEVEL = 6
_LONGEST_UUID = 200


class _ForkedFrom(msgspec.Struct, rename="camel"):
    session_id: str | None = None


class Identity(msgspec.Struct, rename="camel"):
    """What tells an entry from others, and where it was copied from."""

    uuid: str | None = None
    forked_from: _ForkedFrom | None = None


_IDENTITY = msgspec.json.Decoder(Identity)
_ANYTHING = msgspec.json.Decoder()


def encode(entry: Mapping[str, object]) -> bytes:
    """An entry as one line of compact JSON, as the CLI writes it.

    Whatever `json.loads` can produce comes back equal from `decode`: integers of any
    size, NaN, and lone surrogates, which UTF-8 cannot hold and which are escaped.
    """
    try:
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(entry, separators=(",", ":")).encode()


def decode(raw: bytes) -> SessionStoreEntry | None:
    """A raw line as the SDK wants it; None where it is no JSON object."""
    entry = _read(raw)
    return cast("SessionStoreEntry", entry) if isinstance(entry, dict) else None


def _read(raw: bytes) -> object:
    try:
        return _ANYTHING.decode(raw)  # twice as quick, and holds equal names once
    except (ValueError, RecursionError):
        pass  # it refuses lone surrogates, NaN and the like, which the CLI may write
    try:
        return json.loads(raw.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None


def identify(raw: bytes) -> Identity:
    """Who an entry is; nobody where the line cannot be read."""
    try:
        found = _IDENTITY.decode(raw)
    except (ValueError, RecursionError):
        found = _identify_slowly(raw)
    if found.uuid is not None and not _can_be_told_by(found.uuid):
        found.uuid = None
    return found


def _can_be_told_by(uuid: str) -> bool:
    """Databases refuse lone surrogates, some NUL and what does not fit into an index."""
    return uuid.isascii() and "\0" not in uuid and 0 < len(uuid) <= _LONGEST_UUID


def _identify_slowly(raw: bytes) -> Identity:
    """For lines that msgspec refuses: lone surrogates, NaN, fields of a wrong type."""
    entry = decode(raw)
    identity = Identity()
    for name in ("uuid", "forkedFrom") if entry is not None else ():
        with suppress(msgspec.ValidationError):
            part = msgspec.convert({name: cast("dict[str, object]", entry).get(name)}, Identity)
            identity.uuid = identity.uuid or part.uuid
            identity.forked_from = identity.forked_from or part.forked_from
    return identity


def key_of(project_key: str, sdk_session_id: str, subpath: str) -> SessionKey:
    """A transcript's key as the SDK has it: a main one's has no subpath."""
    key: SessionKey = {"project_key": project_key, "session_id": sdk_session_id}
    return {**key, "subpath": subpath} if subpath else key


def place_of(offset: int, raw: bytes) -> str:
    """The identity of a line that has no uuid: where it stood, and what it was."""
    return f"{offset}:{zlib.crc32(raw):08x}"


def pack(raw: bytes) -> tuple[bool, bytes]:
    """A raw entry as it is kept: compressed from 4 KiB, where that makes it smaller, and
    encrypted where the environment has a key."""
    seal = keyring().seal
    if len(raw) < _COMPRESS_FROM:
        return False, seal(raw)
    small = zlib.compress(raw, _LEVEL)
    return (True, seal(small)) if len(small) < len(raw) else (False, seal(raw))


def unpack(compressed: bool, kept: bytes) -> bytes:
    """The raw entry that was packed. Raises `StoreError` where its key is not there."""
    opened = keyring().open(kept)
    return zlib.decompress(opened) if compressed else opened
