"""`project_key`: the name under which Claude Code keeps the transcripts of a folder."""

from __future__ import annotations

import os
import re
import unicodedata
from pathlib import Path

__all__ = ["project_key"]

_LONGEST = 200
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def project_key(folder: Path | None) -> str:
    """The key of this folder's sessions in a session store; None is the current folder.

    It is what `claude_agent_sdk.project_key_for_directory` returns, without the half second
    that it takes to import the SDK.

    >>> project_key(Path("/srv/my shop"))
    '-srv-my-shop'
    """
    real = unicodedata.normalize("NFC", os.path.realpath(folder or "."))
    name = re.sub(r"[^a-zA-Z0-9]", "-", real)
    return name if len(name) <= _LONGEST else f"{name[:_LONGEST]}-{_hash(real)}"


def _hash(text: str) -> str:
    """As JavaScript counts it: in 32 bits with a sign, of which the sign is then dropped."""
    number = 0
    for character in text:
        number = (31 * number + ord(character)) & 0xFFFFFFFF
    number = min(number, 2**32 - number)
    digits = ""
    while number:
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits or "0"
