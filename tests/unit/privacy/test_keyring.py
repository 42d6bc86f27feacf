"""What is sealed opens with its key alone, and what is not sealed stays as it is."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.errors import StoreError
from supervisor.privacy.keyring import VARIABLE, Keyring, keyring, new_key

OLD, NEW = b"o" * 32, b"n" * 32
SEALED, PLAIN = b"\0lucid\1", b"\0lucid\0"
_ODD = st.sampled_from([b"", SEALED, PLAIN, SEALED + PLAIN, b"{}"])
_ODD_TEXT = st.sampled_from(["", "lucid-sealed:", "lucid-plain:", "lucid-plain:lucid-sealed:"])


@given(_ODD, st.binary(max_size=200), st.booleans())
def test_what_is_kept_comes_back(beginning: bytes, rest: bytes, with_key: bool) -> None:
    ring = Keyring([NEW] if with_key else [])
    plain = beginning + rest
    assert ring.open(ring.seal(plain)) == plain


@given(_ODD_TEXT, st.text(st.characters(codec="utf-8"), max_size=50), st.booleans())
def test_text_that_is_kept_comes_back(beginning: str, rest: str, with_key: bool) -> None:
    ring = Keyring([NEW] if with_key else [])
    plain = beginning + rest
    assert ring.open_text(ring.seal_text(plain)) == plain


def test_what_is_sealed_shows_nothing_and_never_looks_the_same() -> None:
    ring = Keyring([NEW])
    sealed = {ring.seal(b"a secret of some length") for _ in range(10)}
    assert len(sealed) == 10
    assert not any(b"secret" in one for one in sealed)
    assert "secret" not in ring.seal_text("a secret")


@pytest.mark.parametrize("plain", [b"", b'{"type":"user"}', b"\x78\x9c"])
def test_what_was_kept_before_there_was_a_key_is_readable(plain: bytes) -> None:
    assert Keyring([NEW]).open(Keyring().seal(plain)) == plain
    assert Keyring().seal(plain) is plain


def test_a_new_key_seals_and_the_old_one_still_opens() -> None:
    sealed = Keyring([OLD]).seal(b"x")
    both = Keyring([NEW, OLD])
    assert both.open(sealed) == b"x"
    assert Keyring([NEW]).open(both.seal(b"y")) == b"y"


def test_without_a_key_it_is_asked_for() -> None:
    with pytest.raises(StoreError, match=f"^the store is encrypted; put its key into {VARIABLE}$"):
        Keyring().open(Keyring([OLD]).seal(b"x"))


def test_another_key_is_told_from_the_right_one() -> None:
    with pytest.raises(StoreError, match=r"encrypted with another key \(its mark is [0-9a-f]{8}\)"):
        Keyring([NEW]).open_text(Keyring([OLD]).seal_text("x"))


@pytest.mark.parametrize("place", [8, 12, 30, 40, -1])
def test_what_was_changed_is_not_opened(place: int) -> None:
    sealed = bytearray(Keyring([NEW]).seal(b"some text"))
    sealed[place] ^= 1
    with pytest.raises(StoreError, match=r"damaged or changed|another key"):
        Keyring([NEW]).open(bytes(sealed))


@pytest.mark.parametrize("kept", [SEALED, SEALED + b"x" * 40])
def test_what_only_begins_like_it_is_damaged(kept: bytes) -> None:
    with pytest.raises(StoreError, match="damaged"):
        Keyring([NEW]).open(kept)
    with pytest.raises(StoreError, match="damaged"):
        Keyring([NEW]).open_text("lucid-sealed:no base64!")


def test_equal_texts_have_equal_fingerprints_that_show_nothing() -> None:
    ring = Keyring([NEW])
    assert ring.fingerprint("x") == Keyring([NEW]).fingerprint("x") != ring.fingerprint("y")
    assert ring.fingerprint("x") != Keyring([OLD]).fingerprint("x")
    assert Keyring().fingerprint("x") == "x"


def test_keys_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert not keyring().seals
    old, new = new_key(), new_key()
    assert old != new
    monkeypatch.setenv(VARIABLE, old)
    sealed = keyring().seal(b"x")
    assert keyring() is keyring()
    monkeypatch.setenv(VARIABLE, f" {new}, {old}\n")
    assert keyring().open(sealed) == b"x"


@pytest.mark.parametrize(
    "text",
    [
        "hunter2",
        "lucid-key-short",
        new_key()[:-4],
        new_key() + "AAAA",
        "lucid-key-" + base64.urlsafe_b64encode(b"k" * 36).decode(),
        f"{new_key()},nonsense",
    ],
    ids=["a word", "short", "cut off", "too long", "wrong checksum", "a key and a word"],
)
def test_what_is_no_key_is_refused_and_not_shown(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, text)
    with pytest.raises(StoreError, match="holds what is no key") as refused:
        keyring()
    assert text not in str(refused.value)
