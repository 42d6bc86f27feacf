"""Failures of one kind, whatever was tried."""

from __future__ import annotations

import msgspec

from detectors.loop.answers import failure_of
from detectors.loop.config import LoopConfig
from detectors.loop.finding import EXCERPT, Finding
from detectors.loop.repetition import facts_of
from detectors.loop.steps import Step
from supervisor.core.entry import ToolResult
from supervisor.core.text import one_line

__all__ = ["Failures"]

_KINDS = 8
"""Kinds of failure counted at a time; the one that came longest ago is dropped."""


class _Kind(msgspec.Struct, gc=False):
    """One kind of failure, and how often it came."""

    tool: str
    attempts: int = 0
    decision: str = ""
    """The model message of the last attempt."""
    onset_seq: int = 0
    """The second attempt's call."""
    seqs: tuple[int, ...] = ()


class Failures:
    """Counts failures of a kind until it is overcome: something is changed, or the tool
    does its work. An invented tool never does."""

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._kinds: dict[bytes, _Kind] = {}

    def take(self, step: Step, result: ToolResult) -> Finding | None:
        """What the step completes."""
        digest = failure_of(step.call, result)
        if digest is None:
            if self._kinds:
                self._overcome(step)
            return None
        kind = self._counted(digest, step)
        needed = self._config.fruitless
        if step.waits:
            needed = max(needed, self._config.waiting_repeats)
        if kind.attempts < needed and not self._is_suspected(kind, step):
            return None
        tool = one_line(step.call.tool, EXCERPT)
        what = "failed" if step.is_error else "found nothing"
        return Finding(
            pattern="failure",
            identity=digest.hex(),
            summary=f"{tool} {what} once more: attempt {kind.attempts} that ended the same way.",
            repetitions=kind.attempts,
            needed=needed,
            onset_seq=kind.onset_seq,
            seqs=kind.seqs,
            facts=facts_of(step, result),
        )

    def _is_suspected(self, kind: _Kind, step: Step) -> bool:
        """Whether this is the second failure of its kind, and does not have to wait."""
        return self._config.suspicions and kind.attempts == 2 and not step.waits

    def _counted(self, digest: bytes, step: Step) -> _Kind:
        kind = self._kinds.pop(digest, None) or _Kind(step.call.tool)
        self._kinds[digest] = kind
        if len(self._kinds) > _KINDS:
            del self._kinds[next(iter(self._kinds))]
        # Calls of one message were decided on together: none of them ignored an answer.
        if step.call.decision != kind.decision:
            kind.decision = step.call.decision
            kind.attempts += 1
            kind.seqs = (*kind.seqs[-6:], step.call.seq, step.seq)
            if kind.attempts == 2:
                kind.onset_seq = step.call.seq
        return kind

    def _overcome(self, step: Step) -> None:
        if step.changed:
            self._kinds.clear()
            return
        tool = step.call.tool
        self._kinds = {digest: kind for digest, kind in self._kinds.items() if kind.tool != tool}
