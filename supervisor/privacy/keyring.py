"""`Keyring`: encryption of what a store keeps, with keys from the environment.

AES-256-GCM (`cryptography`), under a key that is derived for each process that writes, so
that drawing nonces at random stays safe however many records there are. What was kept
before there was a key stays readable; what begins like something sealed and is not, is
marked as plain, so that a transcript cannot pass itself off for it.
"""

from __future__ import annotations

import base64
import hmac
import os
from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256
from typing import TYPE_CHECKING

from supervisor.errors import StoreError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

__all__ = ["VARIABLE", "Keyring", "keyring", "new_key"]

VARIABLE = "LUCID_STORE_KEY"
"""The environment's variable: one key, or several with commas between. The first seals."""

_PREFIX = "lucid-key-"
_KEY, _CHECK = 32, 4
_SEALED, _PLAIN = b"\0lucid\1", b"\0lucid\0"
_SEALED_TEXT, _PLAIN_TEXT = "lucid-sealed:", "lucid-plain:"
_ID, _SALT, _NONCE, _TAG = 4, 16, 12, 16
_HEAD = len(_SEALED) + _ID + _SALT + _NONCE
_WRITERS = 1_024
"""Processes whose derived keys are kept at hand; each that wrote has its own."""


def new_key() -> str:
    """A key, drawn at random, as `LUCID_STORE_KEY` takes it."""
    return _written(os.urandom(_KEY))


def keyring() -> Keyring:
    """The keys in the environment. Raises `StoreError` where one of them is none."""
    return _read(os.environ.get(VARIABLE, ""))


@lru_cache(maxsize=8)
def _read(text: str) -> Keyring:
    return Keyring([_key(part) for part in text.replace(",", " ").split()])


def _written(key: bytes) -> str:
    return _PREFIX + base64.urlsafe_b64encode(key + _checksum(key)).decode()


def _key(text: str) -> bytes:
    try:
        raw = base64.b64decode(text.removeprefix(_PREFIX), altchars=b"-_", validate=True)
    except ValueError:
        raw = b""
    key = raw[:_KEY]
    if len(raw) != _KEY + _CHECK or raw[_KEY:] != _checksum(key):
        raise StoreError(
            f"{VARIABLE} holds what is no key, or one with a slip of the pen; a key begins with "
            f"{_PREFIX} and is made by 'lucid key', and several have commas between them"
        )
    return key


def _checksum(key: bytes) -> bytes:
    return sha256(key).digest()[:_CHECK]


class Keyring:
    """Seals with its first key, opens with any; without keys, it keeps things as they are.

    Methods that open raise `StoreError` where the key is missing or is another one. Safe to
    call from several threads.
    """

    def __init__(self, keys: Sequence[bytes] = ()) -> None:
        """Keys of 32 bytes each."""
        self._keys = {_id(key): key for key in reversed(keys)}
        self._newest = keys[0] if keys else None
        self._salt = os.urandom(_SALT)
        self._cipher = lru_cache(maxsize=_WRITERS)(self._derived)

    @property
    def seals(self) -> bool:
        """Whether there is a key to seal with."""
        return self._newest is not None

    def seal(self, plain: bytes) -> bytes:
        """What is to be kept in place of `plain`."""
        if self._newest is None:
            return _PLAIN + plain if plain.startswith((_SEALED, _PLAIN)) else plain
        key_id, nonce = _id(self._newest), os.urandom(_NONCE)
        sealed = self._cipher(key_id, self._salt).encrypt(nonce, plain, None)
        return b"".join((_SEALED, key_id, self._salt, nonce, sealed))

    def open(self, kept: bytes) -> bytes:
        """What was sealed."""
        if kept.startswith(_PLAIN):
            return kept[len(_PLAIN) :]
        if not kept.startswith(_SEALED):
            return kept
        if len(kept) < _HEAD + _TAG:
            raise _damaged()
        place = len(_SEALED) + _ID
        key_id, salt = kept[len(_SEALED) : place], kept[place : place + _SALT]
        return self._opened(key_id, salt, kept[place + _SALT : _HEAD], kept[_HEAD:])

    def _opened(self, key_id: bytes, salt: bytes, nonce: bytes, sealed: bytes) -> bytes:
        from cryptography.exceptions import InvalidTag

        if key_id not in self._keys:
            raise self._locked(key_id)
        try:
            return self._cipher(key_id, salt).decrypt(nonce, sealed, None)
        except InvalidTag:
            raise _damaged() from None

    def seal_text(self, plain: str) -> str:
        """What is to be kept in place of `plain`, where only text can be."""
        if self._newest is None:
            return _PLAIN_TEXT + plain if plain.startswith((_SEALED_TEXT, _PLAIN_TEXT)) else plain
        return _SEALED_TEXT + base64.b64encode(self.seal(plain.encode())).decode()

    def open_text(self, kept: str) -> str:
        """What was sealed as text."""
        if kept.startswith(_PLAIN_TEXT):
            return kept[len(_PLAIN_TEXT) :]
        if not kept.startswith(_SEALED_TEXT):
            return kept
        try:
            sealed = base64.b64decode(kept[len(_SEALED_TEXT) :], validate=True)
        except ValueError:
            raise _damaged() from None
        return self.open(sealed).decode()

    def fingerprint(self, plain: str) -> str:
        """What tells equal texts without showing them; the text itself without a key."""
        if self._newest is None:
            return plain
        return hmac.digest(self._newest, b"equal\0" + plain.encode(), "sha256").hex()

    def _derived(self, key_id: bytes, salt: bytes) -> AESGCM:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        return AESGCM(hmac.digest(self._keys[key_id], b"seal\0" + salt, "sha256"))

    def _locked(self, key_id: bytes) -> StoreError:
        if not self._keys:
            return StoreError(f"the store is encrypted; put its key into {VARIABLE}")
        return StoreError(
            f"the store is encrypted with another key (its mark is {key_id.hex()}) than those in "
            f"{VARIABLE} ({', '.join(known.hex() for known in self._keys)}); add it there behind "
            "the newest, with a comma between"
        )


def _id(key: bytes) -> bytes:
    return hmac.digest(key, b"mark", "sha256")[:_ID]


def _damaged() -> StoreError:
    return StoreError("what the store keeps encrypted was damaged or changed; restore a backup")
