"""Failures into which one agent of a session after another runs."""

from __future__ import annotations

import msgspec

from detectors.loop.answers import stable_mark
from detectors.loop.config import LoopConfig
from detectors.loop.finding import EXCERPT, Finding
from detectors.loop.repetition import facts_of
from detectors.loop.steps import Step
from supervisor.core.entry import ToolResult
from supervisor.core.text import one_line

__all__ = ["SharedFailures"]

_KEPT = 16
"""Failing calls remembered, the one that came longest ago dropped first."""


class _Wall(msgspec.Struct, gc=False):
    """A call that failed the same way in several agents, one after another."""

    agents: int = 0
    failed_at: int = 0
    """The entry in which it last did so."""
    seqs: tuple[int, ...] = ()


class SharedFailures:
    """Known to all agents of a session. An agent counts where it began when the last one had
    failed already: whoever sent it could have known. Agents at work side by side run into the
    same without a fault of anybody's."""

    def __init__(self, config: LoopConfig) -> None:
        self._config = config
        self._walls: dict[int, _Wall] = {}

    def forget(self) -> None:
        """The user has spoken."""
        self._walls.clear()

    def take(self, step: Step, result: ToolResult, began: int) -> Finding | None:
        """What the step of an agent that began at this entry completes."""
        if not step.is_error:
            return None
        key = hash((step.call.digest, stable_mark(result)))
        wall = self._walls.pop(key, None) or _Wall()
        self._walls[key] = wall
        if len(self._walls) > _KEPT:
            del self._walls[next(iter(self._walls))]
        if wall.agents and began <= wall.failed_at:
            return None
        wall.agents += 1
        wall.failed_at = step.seq
        wall.seqs = (*wall.seqs[-6:], step.call.seq, step.seq)
        return self._found(wall, step, result)

    def _found(self, wall: _Wall, step: Step, result: ToolResult) -> Finding | None:
        needed = self._config.waiting_repeats if step.waits else self._config.repeats
        if wall.agents < needed:
            return None
        tool = one_line(step.call.tool, EXCERPT)
        return Finding(
            pattern="shared failure",
            identity=step.call.digest.hex(),
            summary=f"{tool} failed the same way in {wall.agents} agents, one after another.",
            repetitions=wall.agents,
            needed=needed,
            onset_seq=step.call.seq,
            seqs=wall.seqs,
            facts=facts_of(step, result),
        )
