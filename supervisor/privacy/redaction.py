"""`Redactor`: takes secrets out of what leaves the store.

What it takes out is replaced by `[redacted:KIND]`. It finds secrets by their form and by
what they are called, not by chance: a hash, a uuid or a commit is left alone. It works on
raw JSON as on text, and JSON stays JSON, the same to the byte but for the secrets.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Protocol, cast

from supervisor.errors import SupervisorError
from supervisor.privacy.patterns import LEADS, NAMES, SHORT_TOKENS, TOKENS, WORD_BEGINS
from supervisor.settings import read_settings

__all__ = ["Redactor", "redactor"]

_MEMORY = 64 * 1024 * 1024
"""Bytes that each automaton may take; it takes a few."""
_MARK = b"[redacted:"
_MOST_PASSES = 8
"""What was found may have stood at another's end; two are enough but for odd cases."""
_LOOKED_AT = 256
"""Bytes of a value that tell whether it is a secret."""


class _Match(Protocol):
    def start(self) -> int: ...
    def end(self) -> int: ...
    def span(self, group: int) -> tuple[int, int]: ...
    def groups(self) -> tuple[bytes | None, ...]: ...


class _Pattern(Protocol):
    def search(self, text: bytes, pos: int = ...) -> _Match | None: ...


class Redactor:
    """Holds no state but its patterns; safe to call from several threads.

    >>> Redactor().text("export GITHUB_TOKEN=ghp_0123456789abcdefghijABCDEFGHIJ012345")
    'export GITHUB_TOKEN=[redacted:github-token]'
    >>> Redactor().text("commit 3f785c1e0ba0d3ad2d9e2e0e1a0a5f9f0f0e6b2c")
    'commit 3f785c1e0ba0d3ad2d9e2e0e1a0a5f9f0f0e6b2c'
    """

    def __init__(self, *, on: bool = True) -> None:
        """One that is not `on` leaves everything as it is."""
        self.on = on

    def text(self, text: str) -> str:
        """`text` without secrets; the same object where there are none."""
        if not self.on:
            return text
        raw = text.encode(errors="surrogatepass")
        redacted = _redacted(raw, in_json=False)
        return text if redacted is raw else redacted.decode(errors="surrogatepass")

    def json(self, raw: bytes) -> bytes:
        """A JSON document without secrets, or whatever else `raw` is: JSON stays JSON, and
        without secrets it is the same object."""
        return _redacted(raw, in_json=True) if self.on else raw


def redactor() -> Redactor:
    """The one that the settings ask for; one that is on where they cannot be read."""
    try:
        return _THE_ONE[read_settings().redact]
    except SupervisorError:
        return _THE_ONE[True]


_THE_ONE = {on: Redactor(on=on) for on in (True, False)}


def _redacted(raw: bytes, *, in_json: bool) -> bytes:
    for _ in range(_MOST_PASSES):
        before = raw
        raw = _without(raw, _tokens(raw, in_json=in_json))
        raw = _without(raw, _named(raw))
        if raw is before:
            break
    return raw


def _without(raw: bytes, secrets: Iterator[tuple[int, int, str]]) -> bytes:
    parts: list[bytes] = []
    position = 0
    for start, end, kind in secrets:
        parts += (raw[position:start], _MARK + kind.encode() + b"]")
        position = end
    return b"".join([*parts, raw[position:]]) if parts else raw


def _tokens(raw: bytes, *, in_json: bool) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of every secret that its form tells."""
    position = 0
    while (found := _forms().search(raw, position)) is not None:
        number = _group(found)
        start, position = found.span(number)
        if in_json:
            start = _behind_escape(raw, start)
        yield start, position, _KINDS[number - 1]


def _named(raw: bytes) -> Iterator[tuple[int, int, str]]:
    """Start, end and kind of every secret that what stands before it tells."""
    position = 0
    while (name := _names().search(raw, position)) is not None:
        secret = _behind(raw, name.start())
        if secret is not None:
            yield secret
        position = secret[1] if secret is not None else name.start() + 1


def _behind(raw: bytes, place: int) -> tuple[int, int, str] | None:
    """The secret behind the name that begins at `place`, if there is one."""
    if raw.endswith(_MARK, 0, place):
        return None
    for kind, pattern, value, is_secret in LEADS:
        lead = pattern.match(raw, place)
        if lead is None:
            continue
        start = lead.end()
        seen = value.match(raw, start, start + _LOOKED_AT)
        if seen is not None and is_secret(seen[0]):
            whole = value.match(raw, start)
            assert whole is not None, "its beginning is one"
            return start, whole.end(), kind
    return None


def _behind_escape(raw: bytes, place: int) -> int:
    """Where the escape ends that `place` is in the midst of, in JSON; else `place`."""
    begin = raw.rfind(b"\\", max(0, place - 5), place)
    if begin < 0:
        return place
    run = begin
    while run and raw[run - 1] == _BACKSLASH:
        run -= 1
    if (begin - run) % 2:
        return place  # it is a backslash itself
    end = begin + (6 if raw[begin + 1 : begin + 2] == b"u" else 2)
    return max(place, end)


def _group(found: _Match) -> int:
    return next(number for number, group in enumerate(found.groups(), 1) if group is not None)


_BACKSLASH = ord("\\")
_KINDS = [kind for kind, _ in (*TOKENS, *SHORT_TOKENS)]


@cache
def _forms() -> _Pattern:
    anywhere = b"|".join(b"(%s)" % form for _, form in TOKENS)
    at_words = b"|".join(b"(%s)" % form for _, form in SHORT_TOKENS)
    return _compiled(b"%s|%s(?:%s)" % (anywhere, WORD_BEGINS, at_words))


@cache
def _names() -> _Pattern:
    return _compiled(NAMES)


def _compiled(pattern: bytes) -> _Pattern:
    import re2  # type: ignore[import-untyped] # it brings no types

    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # bytes: what is no UTF-8 is looked at too
    options.max_mem = _MEMORY
    options.log_errors = False  # it would write to standard error
    return cast("_Pattern", re2.compile(pattern, options))
