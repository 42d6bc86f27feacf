"""`Detector`: the interface every failure detector implements."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from datetime import datetime
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict

from supervisor.core.entry import Entry
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["Detector", "DetectorConfig"]


class DetectorConfig(BaseModel):
    """Base of every detector's configuration; policies set it under `detectors:`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    enabled: bool = True
    """Whether sessions under this policy run the detector at all."""


class Detector(ABC):
    """Finds one failure mode in the entries of one agent.

    One instance serves one agent of one transcript: a subagent has its own, and so has
    a fork, which is fed its inherited prefix first. A detector is pure: it keeps state
    in memory, bounded, and reads no clock, file, network or randomness, so the same
    entries always yield the same verdicts. Each call is amortised O(1).
    """

    name: ClassVar[str]
    """Unique, snake_case; the file's name."""
    failure_mode: ClassVar[FailureMode]
    Config: ClassVar[type[DetectorConfig]] = DetectorConfig

    def __init__(self, config: DetectorConfig | None = None) -> None:
        self.config = config if config is not None else self.Config()

    @classmethod
    def failure_modes(cls) -> frozenset[FailureMode]:
        """Every mode that its verdicts may have: its own, unless a policy may name another."""
        return frozenset({cls.failure_mode})

    @property
    def idle(self) -> bool:
        """Whether its configuration leaves it nothing to find, so that nobody need ask it."""
        return False

    def join(self, other: Self) -> None:  # noqa: B027 - most share nothing
        """Called once, before the first entry, where an earlier agent of the same transcript
        has a detector of this kind: to share with it what concerns all of them. `other` goes
        on, and what both of them find then depends on the order of their entries."""

    @abstractmethod
    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Take the next entry; return what it completes. Must not change `entry`.

        Verdicts on inherited entries are dropped by the runtime: they were judged
        where they first stood.
        """

    def tick(self, now: datetime) -> Iterable[Verdict]:
        """Called now and then while the agent runs: silence is a symptom too."""
        return ()

    def finish(self) -> Iterable[Verdict]:
        """Called once, after the transcript's last entry."""
        return ()
