"""Tool results without what changes by itself, and which of them brought nothing."""

from __future__ import annotations

import re

from detectors.loop.calls import Call
from detectors.loop.finding import digest_of
from supervisor.core.entry import ToolResult

__all__ = ["exact_mark", "failure_of", "is_passing", "is_short", "stable_mark"]

_SHORT = 256
"""Characters up to which an answer is compared closely from its first run on. A longer
one is from its second, since close reading costs much and most calls are never repeated."""
_PRECISE = 2_048
"""Characters at either end of a result that are read closely; summaries stand there."""
_LINES = 2
"""Lines at either end of an error's text that tell its kind."""
_WIDTH = 200
"""Characters of such a line."""
_LONGEST_NOTHING = 120
"""Characters; what is longer says something."""

_VOLATILE = re.compile(
    r"""
    [0-9] (?:
        (?<! [0-9A-Za-z_.][0-9] ) (?:
            [0-9]{3}-[0-9]{2}-[0-9]{2} (?: [T ][0-9:.,]+ (?: Z | [+-][0-9:]+ )? )?
          | [0-9]* (?: :[0-9]{2} ){1,2} (?: [.,][0-9]+ )? \b
          | [0-9]* (?: \.[0-9]+ )? [ ]? (?: [nuµm]?s | secs? | seconds? | mins? | minutes? ) \b
          | x[0-9a-fA-F]+ \b
        )
      | (?: (?<= [Ii][Dd][=:][0-9] ) | (?<= [Ii][Dd]:[ ][0-9] ) | (?<= [Pp][Ii][Dd][ ][0-9] )
          | (?<= bash_[0-9] ) | (?<= toolu_[0-9] ) | (?<= [Aa]ttempt[ ][0-9] )
          | (?<= [Rr]etry[ ][0-9] )
        ) \w*
    )
    """,
    re.VERBOSE,
)
"""Timestamps, durations, addresses, ids and counts of attempts. Each begins with its
digit, context looked up behind it: a search for that is ten times as fast."""
_UUID_TAIL = re.compile(r"(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID = re.compile(r"[0-9a-fA-F]{8}" + _UUID_TAIL.pattern)
_DIGITS = b"0123456789"

_NOTHING = re.compile(
    r"\s*(?:\W*"
    r"|(?:\w+ ){0,2}no \w*\s?(?:matches|results?|files|entries|items|records)\b.*"
    r"|(?:found )?0 (?:matches|results|files|entries|items|records)\b.*"
    r"|(?:nothing|not) found\W*"
    r"|\{(?:\s*\"\w+\"\s*:\s*(?:\[\s*\]|\{\s*\}|null|0|\"\"|false)\s*,?)+\s*\})\s*",
    re.IGNORECASE,
)
_VARIABLE = re.compile(r"(['\"`]).*\1|[\w.~-]*/[\w./~-]+|[0-9]+")
"""Quoted words, paths and numbers: what an error is about, not of what kind it is."""
_REFUSED = ("The user doesn't want to", "[Request interrupted")
"""How the runtime says that a person stopped a call, which is no failure of it."""
_PASSING = re.compile(
    r"(?:http\S*|status|code|error)\W{1,3}(?:429|502|503|504|529)\b|too many requests"
    r"|bad gateway|service unavailable|gateway time-?out|rate.?limit|overloaded"
    r"|temporarily unavailable|try again later",
    re.IGNORECASE,
)
"""What a service says that will do again, if it is left alone for a while."""


def is_short(result: ToolResult) -> bool:
    """Whether to read it closely at once."""
    return len(result.text) <= _SHORT


def exact_mark(result: ToolResult) -> int:
    """Equal for equal results, within one process."""
    return hash(result.text) * 2 + result.is_error


def stable_mark(result: ToolResult) -> int:
    """Equal, within one process, for results that differ only in what changes by itself.

    In the middle of a long one only digits are left out, which costs next to nothing.
    """
    text = result.text
    if len(text) <= 2 * _PRECISE:
        return hash(_stable(text)) * 2 + result.is_error
    middle = text[_PRECISE:-_PRECISE].encode(errors="replace").translate(None, _DIGITS)
    ends = _stable(text[:_PRECISE]), _stable(text[-_PRECISE:])
    return hash((ends, middle)) * 2 + result.is_error


def _stable(text: str) -> str:
    if _UUID_TAIL.search(text):
        text = _UUID.sub("~", text)
    return " ".join(_VOLATILE.sub("~", text).split())


def is_passing(result: ToolResult) -> bool:
    """Whether it is an error that time may heal: trying again is right, for a while."""
    return result.is_error and bool(_PASSING.search(result.text[: _WIDTH * _LINES]))


def failure_of(call: Call, result: ToolResult) -> bytes | None:
    """The kind of failure that a result is, or None for one that brought something.

    Errors are of one kind if they read the same but for names, paths and numbers. To
    search and find nothing is one kind for each tool.
    """
    if result.is_error and not result.text.startswith(_REFUSED):
        return digest_of(_kind(call.tool, result.text).encode(errors="replace"))
    if call.looks and len(result.text) <= _LONGEST_NOTHING and _NOTHING.fullmatch(result.text):
        return digest_of(b"nothing\0", call.tool.encode(errors="replace"))
    return None


def _kind(tool: str, text: str) -> str:
    edge = 2 * _LINES * _WIDTH
    if len(text) > 2 * edge:
        text = f"{text[:edge]}\n{text[-edge:]}"
    lines = [line.strip()[:_WIDTH] for line in text.splitlines() if line.strip()]
    if len(lines) > 2 * _LINES:
        lines = lines[:_LINES] + lines[-_LINES:]
    return _VARIABLE.sub("~", "\n".join(lines).replace(tool, "~"))
