"""`Finding`: a loop as it was found, and how it becomes a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b

import msgspec

from supervisor.core.verdict import Fact

__all__ = ["EXCERPT", "SUSPICION", "Finding", "confidence_of", "digest_of", "identity"]

SUSPICION = 0.1
"""The confidence of what may become a loop, and mostly does not: of the traces that hold
nothing surer, 4 of TRAIL's 5 are loops, and 36 of 382 healthy runs have one."""
EXCERPT = 200
"""Bytes of arguments, characters of a result or a text that a verdict quotes."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What repeats, how often, and since when."""

    pattern: str
    """The sort of loop, one word."""
    identity: str
    """The same for the same loop, wherever in its round it is caught."""
    summary: str
    repetitions: int
    needed: int
    """With how many of them it counts as a loop."""
    onset_seq: int
    """The first entry that was needless."""
    seqs: tuple[int, ...]
    """Entries that show it."""
    facts: dict[str, Fact] = {}


def digest_of(*parts: bytes) -> bytes:
    """A short hash, the same in every process."""
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.digest()


def identity(digests: Sequence[bytes]) -> str:
    """A round's identity, whichever of its steps comes first."""
    first = min([*digests[i:], *digests[:i]] for i in range(len(digests)))
    return first[0].hex() if len(first) == 1 else digest_of(*first).hex()


def confidence_of(found: Finding) -> float:
    """It begins at 0.8 and halves its distance to 1 with each further repetition; short of
    what counts as a loop, it is a suspicion's."""
    if found.repetitions < found.needed:
        return SUSPICION
    beyond = found.repetitions - found.needed
    return round(1 - 0.2 * 0.5 ** min(beyond, 10), 4)
