"""`Trial`: a scenario of the gauntlet, with what shows that its task was done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from fnmatch import fnmatch
from pathlib import Path
from typing import Self

from pydantic import Field, JsonValue, PositiveFloat, PositiveInt, model_validator

from supervisor.core.verdict import FailureMode
from supervisor.testing import Scenario, ScenarioError, load_scenario
from supervisor.testing.conditions import Data, Pattern

__all__ = ["EFFECTS", "Done", "Kind", "Trial", "find_trials", "load_trial", "repeated_effects"]

_SHIPPED = Path(__file__).parent / "scenarios"

EFFECTS = "effects.log"
"""The file that a scenario's side effects are counted in: each appends a line, and a line
that stands there already is one that was repeated."""


class Kind(StrEnum):
    """What a supervisor ought to make of a scenario."""

    RECOVERABLE = "recoverable"
    """The agent fails, and something that a supervisor can do helps it."""
    HEALTHY = "healthy"
    """Looks like a failure and is none: it is to be left alone."""
    UNRECOVERABLE = "unrecoverable"
    """Nothing helps: it is to come to an end."""


class Done(Data):
    """What shows that the task was done. All that is given must hold."""

    file: str | None = None
    """Must be there, below the agent's working folder."""
    text: Pattern | None = None
    """Must be found in that file."""
    answer: Pattern | None = None
    """Must be found in the turn's last words."""
    untouched: tuple[str, ...] = ()
    """Files that must be as the scenario laid them out."""
    absent: tuple[str, ...] = ()
    """Files that must not be there."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.file is None and self.answer is None:
            raise ValueError("give a file, an answer, or both: else nothing shows it")
        if self.text is not None and self.file is None:
            raise ValueError("text is looked for in a file: name one")
        return self


class Trial(Scenario):
    """A scenario that is run with and without a supervisor."""

    title: str = Field(min_length=1, max_length=80)
    kind: Kind
    mode: FailureMode
    """What fails; of a healthy one, what it looks like."""
    policy: str | dict[str, JsonValue] = "default"
    """A shipped one's name; or a policy as it stands in a file, where a user has to say
    something himself, such as a budget or what to check."""
    done: Done
    objective: str = Field(min_length=1)
    max_turns: PositiveInt = 14
    delay: float = Field(default=0.2, ge=0)
    patience: PositiveFloat = 60.0
    """Seconds after which a run is ended from outside, as by an activity's time limit."""

    @model_validator(mode="after")
    def _sound(self) -> Self:
        unknown = [name for name in self.done.untouched if name not in self.files]
        if unknown:
            raise ValueError(f"done.untouched: not among the files: {', '.join(unknown)}")
        return self

    def is_done(self, folder: Path, answer: str) -> bool:
        """Whether the working folder and the agent's last words show the task done."""
        done = self.done
        if done.answer is not None and not done.answer.search(answer):
            return False
        if done.file is not None and not _holds(folder / done.file, done.text):
            return False
        if any((folder / name).exists() for name in done.absent):
            return False
        return all(_read(folder / name) == self.files[name] for name in done.untouched)


def repeated_effects(folder: Path) -> int:
    """How many of the side effects in a working folder had taken place before."""
    counts = Counter((_read(folder / EFFECTS) or "").splitlines())
    return counts.total() - len(counts)


def load_trial(path: Path) -> Trial:
    """Read a trial. Raises `ScenarioError` with every fault of the file."""
    return load_scenario(path, Trial)


def find_trials(patterns: Sequence[str] = ()) -> dict[str, Trial]:
    """The trials that come with Lucid, by name; those alone whose name fits one of the
    shell-style patterns, if any is given.

    Raises `ScenarioError` where a pattern fits none, and with the faults of a file.
    """
    names = sorted(path.stem for path in _SHIPPED.glob("*.yaml"))
    vain = [pattern for pattern in patterns if not any(fnmatch(name, pattern) for name in names)]
    if vain:
        raise ScenarioError([f"no scenario is called {pattern!r}" for pattern in vain])
    chosen = (n for n in names if not patterns or any(fnmatch(n, p) for p in patterns))
    return {name: load_trial(_SHIPPED / f"{name}.yaml") for name in chosen}


def _holds(path: Path, text: Pattern | None) -> bool:
    content = _read(path)
    return content is not None and (text is None or text.search(content) is not None)


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
