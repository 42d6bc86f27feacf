"""What is done to a session: which worker's death, in which phase, and when exactly."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path
from random import Random
from typing import Literal

from tests.chaos.story import Story

__all__ = ["CELLS", "Cell", "Kill", "Phase", "Plan", "StoreKind"]

Kill = Literal["worker", "pod", "drain"]
"""SIGKILL of the worker; of it and all below it at once; SIGTERM, which it drains on."""
Phase = Literal["before-tool", "in-tool", "after-tool", "in-output", "in-subagent"]
StoreKind = Literal["sqlite", "postgres"]

_KILLS: tuple[Kill, ...] = ("worker", "pod", "drain")
_PHASES: tuple[Phase, ...] = ("before-tool", "in-tool", "after-tool", "in-output", "in-subagent")
_STORES: tuple[StoreKind, ...] = ("sqlite", "postgres")

_STEPS = 4
_DELEGATED = (2, 3)


@dataclass(frozen=True)
class Cell:
    """One cell of the grid."""

    kill: Kill
    phase: Phase
    store: StoreKind

    @property
    def name(self) -> str:
        """As it is written and asked for."""
        return f"{self.kill}/{self.phase}/{self.store}"


CELLS = tuple(Cell(*each) for each in product(_KILLS, _PHASES, _STORES))


@dataclass(frozen=True)
class Plan:
    """What chance decides of one run."""

    step: int
    """The step at which the worker is killed."""
    jitter: float
    """Seconds from the phase's begin to the kill."""
    waits: tuple[float, float]
    in_background: bool
    words: int
    """How much the model says before what it is cut off in: the cut, which comes after half
    of the message, may fall into the text or into the call."""

    @classmethod
    def drawn(cls, cell: Cell, seed: str) -> Plan:
        """The plan of one run of a cell; the same for the same seed."""
        chance = Random(f"{cell.name}/{seed}")
        before, after = chance.uniform(0.02, 0.4), chance.uniform(0.02, 0.4)
        # Wider than the phase, so that what comes next to it is hit, too.
        longest = {
            "before-tool": 0.25,
            "in-tool": before + after + 0.1,
            "after-tool": 0.25,
            "in-output": 0.4,
            "in-subagent": before + after + 0.1,
        }[cell.phase]
        steps = {
            "before-tool": range(1, _STEPS + 1),
            "in-tool": range(1, _STEPS + 1),
            # After the last one, the session could be over already.
            "after-tool": range(1, _STEPS),
            "in-output": range(1, _STEPS + 2),
            "in-subagent": _DELEGATED,
        }[cell.phase]
        return cls(
            step=chance.choice(steps),
            jitter=chance.uniform(0, longest),
            waits=(before, after),
            in_background=chance.random() < 0.5,
            words=chance.choice((1, 20, 80)),
        )

    def story(self, cell: Cell, folder: Path) -> Story:
        """The model's part in it."""
        return Story.in_folder(
            folder,
            steps=_STEPS,
            waits=self.waits,
            slow=self.step,
            delegated=_DELEGATED if cell.phase == "in-subagent" else (),
            in_background=self.in_background,
            cut=self.step if cell.phase == "in-output" else 0,
            cut_text="word " * self.words,
        )
