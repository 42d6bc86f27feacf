"""How much two texts have in common, by their words."""

from __future__ import annotations

import re
from zlib import crc32

__all__ = ["in_common", "name_set", "word_set"]

_FEWEST = 3
"""Words; of fewer, to share most says little."""
_READ = 2_000
"""Characters of a text whose words are taken."""
_BITS = 1024
"""Of a set: with 20 words, one in 50 falls on another's bit."""
_WORD = re.compile(r"\w+")
_NAME = re.compile(r"\w+(?:[./]\w+)+|\w*\d\w*")


def word_set(text: object) -> int:
    """The words of a text as bits, which take a tenth of a set's memory; 0 for anything
    else and for very few words."""
    if not isinstance(text, str):
        return 0
    words = set(_WORD.findall(text[:_READ].lower()))
    return _bits(words) if len(words) >= _FEWEST else 0


def name_set(text: object) -> int:
    """Files, addresses and numbers in a text, likewise.

    >>> name_set("Read p1.txt.") == name_set("Please read p1.txt") != name_set("Read p2.txt.")
    True
    """
    return _bits(set(_NAME.findall(text[:_READ].lower()))) if isinstance(text, str) else 0


def _bits(words: set[str]) -> int:
    bits = 0
    for word in words:
        bits |= 1 << crc32(word.encode(errors="replace")) % _BITS
    return bits


def in_common(one: int, other: int) -> float:
    """The share of all words that both sets hold (Jaccard's index).

    >>> in_common(word_set("tri rail ridership 2019"), word_set("2019 ridership, tri rail"))
    1.0
    """
    return (one & other).bit_count() / (one | other).bit_count()
