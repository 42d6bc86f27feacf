"""The errors Lucid raises; each class exists because someone catches it.

::

    SupervisorError
    ├── PolicyError        a policy file has faults; `.problems` lists all of them
    ├── TranscriptError    a transcript cannot be read or has no such session
    ├── StoreError         the store cannot be opened, read or written
    │   ├── StoreAway      not now, but it may be again: what is to be written can wait
    │   ├── LeaseHeld      another worker runs the session
    │   └── LeaseLost      another worker has taken the session over
    ├── FilesError         files cannot be checkpointed, compared or brought back
    ├── HookError          what came as a hook's body is none
    └── ActionError        an action could not be carried out
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

__all__ = [
    "ActionError",
    "Drained",
    "FilesError",
    "HookError",
    "LeaseHeld",
    "LeaseLost",
    "PolicyError",
    "Problem",
    "StoreAway",
    "StoreError",
    "SupervisorError",
    "TranscriptError",
]


class SupervisorError(Exception):
    """Root of every error that Lucid raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault of a policy, as `file:line:column: path: reason`.

    >>> str(Problem("p.yaml", 9, 7, "rules[0].ladder[1]", "unknown action 'nugde'"))
    "p.yaml:9:7: rules[0].ladder[1]: unknown action 'nugde'"
    """

    file: str
    line: int
    """From 1."""
    column: int
    """From 1, in characters."""
    path: str
    """Where in the document, such as `rules[1].ladder[0].rollback.to`; `document` for all of it."""
    reason: str
    """What is wrong and, where it is not plain, what to write instead."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.path}: {self.reason}"


class PolicyError(SupervisorError):
    """A policy has faults. `problems` holds every one, in file order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class TranscriptError(SupervisorError):
    """A transcript cannot be read, or the session asked for is not there."""


class StoreError(SupervisorError):
    """The store cannot be opened, read or written."""


class Drained(SupervisorError):
    """The worker was told to stop and let go of the session in good order: it can be
    resumed at once, here or elsewhere."""


class StoreAway(StoreError):
    """The store can be neither read nor written now, and may be later: its server is away,
    its disk is full, another process holds it. What was to be written may be tried again;
    whether it was kept is not known."""


class LeaseHeld(StoreError):
    """Another worker runs the session: `holder`, until `expires_at` by the store's clock
    unless it renews its lease."""

    def __init__(self, message: str, *, holder: str, expires_at: datetime) -> None:
        self.holder = holder
        self.expires_at = expires_at
        super().__init__(message)


class LeaseLost(StoreError):
    """Another worker has taken the session over: nothing was written, and the agent that
    ran under the lost lease must stop."""


class FilesError(SupervisorError):
    """A working folder cannot be checkpointed, compared with a checkpoint or brought back."""


class HookError(SupervisorError):
    """What came as a hook's body is none. `status` is the HTTP status to answer with."""

    def __init__(self, message: str, *, status: int) -> None:
        self.status = status
        super().__init__(message)


class ActionError(SupervisorError):
    """An action was tried and could not be carried out."""
