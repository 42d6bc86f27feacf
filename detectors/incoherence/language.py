"""In what script, and in which of a few languages, a text is written. No library needed.

A script is told by its code points, a language of the Latin script by its commonest words.
"""

from __future__ import annotations

import re
from collections import Counter

__all__ = ["LATIN", "common_words", "foreign_script", "language_of", "scripts_in"]

LATIN = "Latin"

_SCRIPTS = (
    ("Greek", 0x370, 0x3FF),
    ("Cyrillic", 0x400, 0x52F),
    ("Armenian", 0x530, 0x58F),
    ("Hebrew", 0x590, 0x5FF),
    ("Arabic", 0x600, 0x77F),
    ("Devanagari", 0x900, 0x97F),
    ("Bengali", 0x980, 0x9FF),
    ("Tamil", 0xB80, 0xBFF),
    ("Thai", 0xE00, 0xE7F),
    ("Georgian", 0x10A0, 0x10FF),
    ("Kana", 0x3040, 0x30FF),
    ("Han", 0x4E00, 0x9FFF),
    ("Hangul", 0xAC00, 0xD7AF),
)
"""The blocks of the scripts that models mostly slip into, by first and last code point."""
_OTHER = re.compile(r"[\u0370-\u10ff\u3040-\u30ff\u4e00-\u9fff\uac00-\ud7af]")
"""A letter of any of them."""
_EAST_ASIAN = frozenset({"Han", "Kana"})
"""Written together: a Japanese prompt without kanji may be answered with them."""

_WORDS = {
    "English": "the and is to of that this it for with not you are was have be on in",
    "German": "der die das und ist nicht ein eine zu mit auf für werden wird ich den dem auch",
    "Spanish": "el la los las que es una para por con está del como se más hay puede un",
    "French": "le les des est une dans pour que qui sur avec pas vous nous je du et ce",
    "Portuguese": "o os as não uma para com que em do da está são foi mais você um por",
    "Italian": "il gli che è una per con non sono della nel di questo ha i le si un",
    "Dutch": "het een van en is dat niet op te zijn voor met de ik er wordt aan deze",
}
_LANGUAGES: dict[str, list[str]] = {}
for _language, _words in _WORDS.items():
    for _word in _words.split():
        _LANGUAGES.setdefault(_word, []).append(_language)
_MOST_WORDS = 150
"""Words of a text that are looked at."""
_ENOUGH = 8
"""Common words that it takes to tell a language."""
_MARGIN = 2
"""How many times as many as the second best language has."""


def scripts_in(text: str) -> frozenset[str]:
    """The scripts other than Latin of which a letter stands in `text`.

    >>> sorted(scripts_in("日本語 и ещё"))
    ['Cyrillic', 'Han']
    """
    if text.isascii() or not _OTHER.search(text):
        return frozenset()
    return frozenset(script for script in map(_script, set(text)) if script)


def foreign_script(text: str, known: frozenset[str]) -> str | None:
    """The script in which most letters of `text` are written, if `known` lacks it."""
    if text.isascii() or not _OTHER.search(text):
        return None
    letters = Counter(_script(char) or LATIN for char in text if char.isalpha())
    script, count = letters.most_common(1)[0]
    if script == LATIN or script in known or (script in _EAST_ASIAN and known & _EAST_ASIAN):
        return None
    return script if count * 2 > letters.total() else None


def _script(char: str) -> str | None:
    code = ord(char)
    if code < 0x370:
        return None
    return next((name for name, first, last in _SCRIPTS if first <= code <= last), None)


def common_words(text: str) -> dict[str, int]:
    """How many of each language's commonest words `text` begins with."""
    found: dict[str, int] = {}
    for word in text.lower().split(None, _MOST_WORDS)[:_MOST_WORDS]:
        for language in _LANGUAGES.get(word.strip(".,:;!?()\"'"), ()):
            found[language] = found.get(language, 0) + 1
    return found


def language_of(text: str) -> str | None:
    """The language of a text in the Latin script, where it is plain.

    >>> language_of("Ich habe die Datei gelesen und der Test ist nicht da, das ist der Fehler.")
    'German'
    >>> language_of("Done.") is None
    True
    """
    found = common_words(text)
    best = max(found, key=found.__getitem__, default=None)
    if best is None or found[best] < _ENOUGH:
        return None
    second = max((count for language, count in found.items() if language != best), default=0)
    return best if found[best] >= _MARGIN * second else None
