"""Texts that say the same again and again."""

from __future__ import annotations

import re

from detectors.loop.config import LoopConfig
from detectors.loop.finding import EXCERPT, Finding, digest_of, identity
from detectors.loop.rounds import Rounds
from supervisor.core.entry import Text, Thinking

__all__ = ["Sayings", "chant"]

_SHORTEST = 400
"""Characters that are repeated on end; refrains and emphasis are shorter."""
_TIMES = 8
"""How often they stand there on end. Gemini CLI wants ten times 50 characters."""
_LONGEST_UNIT = 1_000
"""Characters of what is repeated."""
_TAIL = 24
"""Characters by which an earlier place of the same words is found."""
_STRIDE = 512
_PLACES = 32
"""Places of a text, from its end backwards, that are looked at."""
_REFRAINS = 4
"""How often each sentence of a text is said on average, where a few make it up."""
_SENTENCES = 24
"""Fewer of them may well be alike."""
_READ = 4_096
"""Characters of a text that are compared: its sentences up to its end, messages from
their start on."""
_LONGEST_ROUND = 4
"""Messages in a round of somebody who talks to himself."""

_LISTED = re.compile(r"[-*+•|>#]|[0-9]+[.)]")
"""How the lines of lists, tables, quotations and headings begin."""
_LETTER = re.compile(r"[^\W\d_]")
_MARKUP = re.compile(r"[{}\[\]|<]")
"""Data and code repeat, in fences or without."""


class Sayings:
    """What an agent says between two tool calls, and each message by itself."""

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self.forget()

    def forget(self) -> None:
        """Something was done."""
        self._rounds: Rounds[bytes] = Rounds(_LONGEST_ROUND)
        self._said: list[tuple[bytes, int]] = []

    @property
    def any(self) -> bool:
        """Whether anything was said since."""
        return bool(self._said)

    def take(self, message: Text | Thinking) -> Finding | None:
        """What the message completes."""
        if not message.text.strip():
            return None
        return self._monologue(message) or _chanting(message)

    def _monologue(self, message: Text | Thinking) -> Finding | None:
        start = message.text[:_READ].strip()
        digest = digest_of(f"{len(message.text)} {start}".encode(errors="replace"))
        self._rounds.add(digest, message.seq, any(digest == one for one, _ in self._said))
        self._said = [*self._said, (digest, message.seq)][-2 * _LONGEST_ROUND :]
        current = self._rounds.current()
        if current is None or current[1] < self._config.repeats:
            return None
        length, times, onset = current
        return Finding(
            pattern="monologue",
            identity=identity([one for one, _ in self._said[-length:]]),
            summary=f"The same was said {times} times, and nothing done in between.",
            repetitions=times,
            needed=self._config.repeats,
            onset_seq=onset,
            seqs=tuple(seq for _, seq in self._said),
            facts={"text": message.text[:EXCERPT]},
        )


def _chanting(message: Text | Thinking) -> Finding | None:
    found = chant(message.text)
    if found is None:
        return None
    unit, times, needed = found
    return Finding(
        pattern="chant",
        # Sorted, it does not matter where the repeated part is taken to begin.
        identity=digest_of("".join(sorted(unit)).encode(errors="replace")).hex(),
        summary=f"One message says the same {times} times over.",
        repetitions=times,
        needed=needed,
        onset_seq=message.seq,
        seqs=(message.seq,),
        facts={"text": unit[:EXCERPT]},
    )


def chant(text: str) -> tuple[str, int, int] | None:
    """What a text repeats, how often, and with how many times it counts as a loop.

    What stands in closed code fences, tables and lists may repeat, and so may dividers,
    data and code.

    >>> chant("I am done. " * 60)
    ('I am done. ', 60, 8)
    >>> chant("-" * 900)
    """
    if len(text) < _SHORTEST:
        return None
    prose = "".join(text.split("```")[::2]) if "```" in text else text
    first = max(_SHORTEST, len(prose) - _PLACES * _STRIDE)
    for end in range(len(prose), first - 1, -_STRIDE):
        if (found := _period(prose, end)) is not None:
            return found
    return _refrain(prose[-_READ:])


def _period(prose: str, end: int) -> tuple[str, int, int] | None:
    """The unit that stands `_TIMES` times in a row before `end`."""
    tail = prose[end - _TAIL : end]
    earlier = prose.rfind(tail, max(0, end - _TAIL - _LONGEST_UNIT), end - 1)
    if earlier < 0:
        return None
    length = end - _TAIL - earlier
    span = max(_TIMES, -(-_SHORTEST // length)) * length
    if span > end or prose[end - span + length : end] != prose[end - span : end - length]:
        return None
    unit = prose[end - length : end]
    if not _is_prose(unit.strip()):
        return None
    while span + length <= end and prose[end - span - length : end - span] == unit:
        span += length
    return unit, span // length, _TIMES


def _is_prose(text: str) -> bool:
    if _LISTED.match(text) or _MARKUP.search(text):
        return False
    return len(set(_LETTER.findall(text))) >= 2


def _refrain(prose: str) -> tuple[str, int, int] | None:
    """A few sentences that make up a long text, in whatever order."""
    # Each step is cheaper than the next: nearly all texts fail one of the first.
    parts = prose.replace("!", ".").replace("?", ".").replace("\n", ".").split(".")
    said = [one for part in parts if (one := part.strip())]
    if len(said) - len(set(said)) < _SENTENCES - _SENTENCES // _REFRAINS:
        return None
    said = [one for one in said if _is_prose(one)]
    different = set(said)
    if len(said) < _SENTENCES or len(different) * _REFRAINS > len(said):
        return None
    unit = max(sorted(different), key=said.count)
    return unit, len(said) // len(different), _REFRAINS
