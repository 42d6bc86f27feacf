"""Transcript text made fit to be shown or quoted: it is untrusted."""

from __future__ import annotations

import unicodedata

__all__ = ["one_line"]


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
    kept = "".join(" " if unicodedata.category(char)[0] == "C" else char for char in head)
    line = " ".join(kept.split())
    return line if len(line) <= limit and len(text) <= len(head) else line[: limit - 1] + "…"
