"""Transcript text made fit to be shown or quoted: it is untrusted."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line", "shown"]

_LONGEST_SHOWN = 60


def one_line(text: str, limit: int) -> str:
    """`text` as one line of at most `limit` characters, without control characters, so
    that it can neither move a terminal's cursor nor hide what follows.

    >>> one_line("red\\x1b[31m\\n\\n  text", 40)
    'red [31m text'
    >>> one_line("a long line", 6)
    'a lon…'
    """
    # Cut first: a megabyte of output must not be looked at character by character.
    head = text[: limit * 8]
    line = " ".join(head.split())
    if not line.isprintable():  # to look at each character takes a hundred times as long
        kept = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in line)
        line = " ".join(kept.split())
    return line if len(line) <= limit and len(text) <= len(head) else line[: limit - 1] + "…"


def shown(value: object) -> str:
    """`value` for a message: bounded, and as YAML has it.

    >>> [shown(value) for value in ("x", 1.5, True, None, [1], {"a": 1})]
    ["'x'", '1.5', 'true', 'an empty value', 'a list', 'a mapping']
    """
    if value is None:
        return "an empty value"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return repr(value if len(value) <= _LONGEST_SHOWN else value[:_LONGEST_SHOWN] + "…")
    if isinstance(value, (list, tuple)):
        return "a list"
    return "a mapping" if isinstance(value, dict) else str(value)
