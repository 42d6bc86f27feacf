"""Running many trials, a few at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from supervisor.gauntlet.trial import Trial
from supervisor.gauntlet.ways import Run, run_bare, run_supervised

__all__ = ["Outcome", "run_trials"]


@dataclass(frozen=True)
class Outcome:
    """A trial and what the three ways of running it came to."""

    name: str
    trial: Trial
    alone: Run
    retry: Run
    supervised: Run

    @property
    def runs(self) -> tuple[Run, Run, Run]:
        """All three, in the order of the columns."""
        return self.alone, self.retry, self.supervised


async def run_trials(
    trials: Mapping[str, Trial],
    folder: Path,
    *,
    jobs: int = 2,
    policy: str | None = None,
    when_done: Callable[[Outcome], None] = lambda outcome: None,
) -> list[Outcome]:
    """Run every trial in all three ways, at most `jobs` agents at a time; each leaves its
    files below `folder`. `policy` takes the place of the trials' own. Outcomes come in the
    order of `trials`; `when_done` hears of each as it comes."""
    free = asyncio.Semaphore(jobs)

    async def bare(name: str, trial: Trial) -> tuple[Run, Run]:
        async with free:
            return await run_bare(trial, folder / name / "bare")

    async def supervised(name: str, trial: Trial) -> Run:
        async with free:
            return await run_supervised(trial, folder / name / "supervised", policy)

    async def one(name: str, trial: Trial) -> Outcome:
        both = await asyncio.gather(bare(name, trial), supervised(name, trial))
        outcome = Outcome(name, trial, *both[0], both[1])
        when_done(outcome)
        return outcome

    return await asyncio.gather(*(one(name, trial) for name, trial in trials.items()))
