"""Regular expressions out of a policy, searched in untrusted text in linear time.

A backtracking engine such as Python's `re` takes exponential time on the wrong pair of
expression and text, and an agent chooses the text. RE2 (https://github.com/google/re2)
matches by automata: its time is linear in the text, whatever the expression, and its memory
bounded. In return it knows no back-references and no look-around; `\\w`, `\\d` and `\\b` are
ASCII's, and the end of the text is `\\z`.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Protocol, cast

__all__ = ["LONGEST", "Expression", "Match", "compiled", "found"]

LONGEST = 1_000
"""Characters of an expression; one of a policy has a few dozen."""
_ENDS = 10_000
"""Characters at either end of a text that are searched."""
_MEMORY = 2 << 20
"""Bytes that RE2 may use for one expression, shared by all sessions; its own default is
8 MiB. One that would take more is refused."""


class Match(Protocol):
    """What RE2 found."""

    def group(self) -> bytes:
        """The bytes that match."""


class Expression(Protocol):
    """A compiled expression."""

    def search(self, text: bytes) -> Match | None:
        """The first place that matches."""


@lru_cache(maxsize=256)
def compiled(source: str) -> Expression:
    """`source` as an RE2 expression. Raises `ValueError` that says what is wrong with it."""
    try:
        import re2  # type: ignore[import-untyped]  # it brings no types
    except ImportError:
        raise ValueError("needs the package google-re2: pip install google-re2") from None
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        return cast(Expression, re2.compile(source.encode(), options))
    except UnicodeEncodeError:
        raise ValueError(
            "is not text that can be searched for: it holds half a character"
        ) from None
    except re2.error as error:
        reason = error.args[0] if error.args else error
        said = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise ValueError(
            f"is not an expression that RE2 knows: {said} (no look-around, no back-references)"
        ) from None


def found(expression: Expression, text: str | bytes) -> str | None:
    """What of `text` matches first, or None. Of a long text, its beginning and its end are
    searched, each for itself."""
    parts = [text] if len(text) <= 2 * _ENDS else [text[:_ENDS], text[-_ENDS:]]
    for part in parts:
        # Half a character cannot be encoded, and is no reason to look away.
        raw = part.encode(errors="replace") if isinstance(part, str) else part
        if (match := expression.search(raw)) is not None:
            return match.group().decode(errors="replace")
    return None
