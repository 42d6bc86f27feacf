"""Which real transcripts were read by eye, and what was judged of them.

The record names a transcript by its content's digest, so that it holds for renamed files
and for nothing else. It holds no text of theirs.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import msgspec

__all__ = ["Judgement", "judgements", "needed_help"]

_RECORD = Path(__file__).with_name("judged_healthy.json")


class Judgement(msgspec.Struct, frozen=True):
    """What a reader found in one transcript."""

    file: str
    digest: str
    healthy: bool
    why: str


@cache
def judgements() -> dict[str, Judgement]:
    """By the transcript's digest."""
    rows = msgspec.json.decode(_RECORD.read_bytes(), type=list[Judgement])
    return {row.digest: row for row in rows}


def needed_help(digest: str) -> bool:
    """Whether a reader found a failure in it that an intervention would have been right
    for. Transcripts that nobody read count as healthy."""
    found = judgements().get(digest)
    return found is not None and not found.healthy
