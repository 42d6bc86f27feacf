"""What shell commands do, as far as their words tell: shared by detectors."""

from __future__ import annotations

import re

__all__ = ["PARTS", "may_change"]

PARTS = re.compile(r"\|\||&&|[|;\n]")
"""What stands between the commands of one line."""
_LOOKS = re.compile(
    r"\s*(?:$|(?:cat|cd|cut|date|diff|du|echo|env|fd|file|find|grep|head|jq|less|ls|nl|ps|pwd"
    r"|rg|sleep|sort|stat|tail|tr|tree|true|type|uniq|wc|which)\b|sed\s+-n\b"
    r"|git\s+(?:-\S+\s+)*(?:diff|log|show|status|blame|branch|grep|ls-files|rev-parse|fetch)\b)"
)
_WRITES = re.compile(r">(?<![0-9&<=-]>)(?!>?\s*/dev/null|&)|-(?:delete|exec)\b")
"""What lets even these write: a redirection into a file, `find -delete`."""


def may_change(command: str) -> bool:
    """Whether anything may be different after a command; all but those that only look count.

    >>> [may_change(line) for line in ("git log | head 2>&1", "make", "ls > files.txt")]
    [False, True, True]
    """
    if _WRITES.search(command):
        return True
    return not all(_LOOKS.match(part) for part in PARTS.split(command))
