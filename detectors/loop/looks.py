"""Looks that tell nothing: stock taken on end, lines read again, searches reworded."""

from __future__ import annotations

import msgspec

from detectors.loop.calls import Call, Span
from detectors.loop.config import LoopConfig
from detectors.loop.finding import EXCERPT, Finding, digest_of
from detectors.loop.words import in_common
from supervisor.core.text import one_line
from supervisor.core.verdict import Fact

__all__ = ["Reading", "StockTaking", "Wording"]

_FILES = 6
"""Files whose lines are remembered."""
_PARTS = 6
"""Separate parts of a file that are remembered."""
_ASKED = 8
"""Searches, and errands, that a new one is compared with."""
_ALIKE = 0.5
"""Share of words in common from which a search is like another."""
_SAME = 0.8
"""The same for errands, which are longer and share their set phrases."""


def _facts(call: Call) -> dict[str, Fact]:
    return {"tool": call.tool, "arguments": call.arguments.decode(errors="ignore")}


class StockTaking:
    """Decisions on end that only take stock: a plan written down once more, another look
    at what has changed in the repository."""

    def __init__(self, config: LoopConfig) -> None:
        self._needed = config.fruitless
        self._of: str | None = None
        self._times = 0
        self._decision = ""
        self._seqs: tuple[int, ...] = ()
        self._onset_seq = 0

    def take(self, call: Call) -> Finding | None:
        """What the call completes."""
        if call.stock != self._of:
            self._of, self._times, self._decision, self._seqs = call.stock, 0, "", ()
        if call.stock is None or call.decision == self._decision:
            return None
        self._decision = call.decision
        self._times += 1
        self._seqs = (*self._seqs[-7:], call.seq)
        if self._times == 2:
            self._onset_seq = call.seq
        if self._times < self._needed:
            return None
        return Finding(
            pattern="stock-taking",
            identity=digest_of(call.stock.encode()).hex(),
            summary=f"{self._times} looks at {call.stock} on end, and no work between them.",
            repetitions=self._times,
            needed=self._needed,
            onset_seq=self._onset_seq,
            seqs=self._seqs,
            facts=_facts(call),
        )


class _File(msgspec.Struct):
    """What was read of a file."""

    parts: list[tuple[int, int]]
    asked: dict[int, int] = {}
    """The last line of the newest read by its first one, of the newest few."""
    again: int = 0
    """Reads in a row that showed no other line."""
    onset_seq: int = 0


class Reading:
    """Which lines of which files were read, so that paging is told from going round."""

    def __init__(self, config: LoopConfig) -> None:
        self._needed = config.fruitless
        self._files: dict[bytes, _File] = {}

    def forget(self) -> None:
        """Something changed, or left the context: reading again makes sense."""
        self._files.clear()

    def asked_otherwise(self, call: Call) -> bool:
        """Whether a read, which counts as the same with another limit, has another one: that
        its answer differs tells nothing of the file then. Ask before it is taken."""
        file = None if call.span is None else self._files.get(call.span.path)
        if file is None or call.span is None:
            return False
        return file.asked.get(call.span.first, call.span.last) != call.span.last

    def take(self, call: Call) -> Finding | None:
        """What the call completes."""
        if call.span is None:
            return None
        file = self._files.pop(call.span.path, None) or _File([])
        self._files[call.span.path] = file
        if len(self._files) > _FILES:
            del self._files[next(iter(self._files))]
        file.asked.pop(call.span.first, None)
        file.asked[call.span.first] = call.span.last
        if len(file.asked) > _PARTS:
            del file.asked[next(iter(file.asked))]
        if not _covered(file.parts, call.span):
            file.parts, file.again = _joined(file.parts, call.span), 0
            return None
        file.again += 1
        if file.again == 1:
            file.onset_seq = call.seq
        if file.again < self._needed:
            return None
        return Finding(
            pattern="rereading",
            identity=call.span.path.hex(),
            summary=f"{file.again} reads on end showed no line of the file that was not read.",
            repetitions=file.again,
            needed=self._needed,
            onset_seq=file.onset_seq,
            seqs=(file.onset_seq, call.seq),
            facts=_facts(call),
        )


def _covered(parts: list[tuple[int, int]], span: Span) -> bool:
    return any(first <= span.first and span.last <= last for first, last in parts)


def _joined(parts: list[tuple[int, int]], span: Span) -> list[tuple[int, int]]:
    """The parts with another one, those that touch made one, the oldest dropped."""
    first, last = span.first, span.last
    apart = []
    for one in parts:
        if one[0] <= last + 1 and first <= one[1] + 1:
            first, last = min(first, one[0]), max(last, one[1])
        else:
            apart.append(one)
    return [*apart, (first, last)][-_PARTS:]


class _Asked(msgspec.Struct, frozen=True, gc=False):
    """A search, or an errand, as it was worded."""

    call: bytes
    words: int
    named: int
    seq: int
    decision: str
    topic: bytes
    """The call that first asked for it."""


class Wording:
    """Searches for what was searched for, and subagents sent on the same errand again."""

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._searches: list[_Asked] = []
        self._errands: list[_Asked] = []

    def take(self, call: Call) -> Finding | None:
        """What the call completes."""
        if call.query:
            return self._search(call)
        return self._errand(call) if call.errand else None

    def _search(self, call: Call) -> Finding | None:
        """The same call again is for others to judge: by its answer."""
        alike, weight = [], 0.0
        for one in self._searches:
            share = in_common(one.words, call.query)
            if share >= _ALIKE and one.call != call.digest:
                alike.append(one)
                weight += share
        self._searches = _with(self._searches, call, call.query, alike)
        if not alike or (weight < self._config.reworded and not self._config.suspicions):
            return None
        said = f"searched again, in other words, for what {_count(alike)} before was for"
        times_over = int(weight / self._config.reworded)
        return _found("reworded search", said, call, alike, times_over, 1)

    def _errand(self, call: Call) -> Finding | None:
        alike = [
            one
            for one in self._errands
            if one.decision != call.decision
            # The same words on another file, or the next chapter, are a batch.
            and one.named == call.named
            and in_common(one.words, call.errand) >= _SAME
        ]
        self._errands = _with(self._errands, call, call.errand, alike)
        times, needed = len({one.decision for one in alike}) + 1, self._config.repeats
        if times < needed:
            return None
        said = f"was sent on the same errand {times} times"
        return _found("respawn", said, call, alike, times, needed)


def _count(alike: list[_Asked]) -> str:
    return "one search" if len(alike) == 1 else f"each of {len(alike)} searches"


def _with(asked: list[_Asked], call: Call, words: int, alike: list[_Asked]) -> list[_Asked]:
    topic = alike[0].topic if alike else call.digest
    new = _Asked(call.digest, words, call.named, call.seq, call.decision, topic)
    return [*asked, new][-_ASKED:]


def _found(
    pattern: str, said: str, call: Call, alike: list[_Asked], times: int, needed: int
) -> Finding:
    return Finding(
        pattern=pattern,
        identity=alike[0].topic.hex(),
        summary=f"{one_line(call.tool, EXCERPT)} {said}.",
        repetitions=times,
        needed=needed,
        onset_seq=alike[1].seq if len(alike) > 1 else call.seq,
        seqs=(*(one.seq for one in alike), call.seq),
        facts=_facts(call),
    )
