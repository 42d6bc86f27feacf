"""`Trace`: one agent run of a corpus, as entries, with what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum

import msgspec

from supervisor.core.entry import Entry

__all__ = ["Case", "Label", "Outcome", "Trace"]

Batches = Callable[[], Iterator[tuple[Entry, ...]]]


class Outcome(StrEnum):
    """How the run ended, as its source judged it."""

    SUCCESS = "success"
    FAILURE = "failure"


class Label(msgspec.Struct, frozen=True, kw_only=True):
    """A failure that people, or the corpus's construction, place in the trace."""

    failure: str
    """The class, such as `loop` or `tool_misuse`."""
    step: int | None = None
    """Index of the step; None where only the trace is labelled."""
    occurrences: tuple[int, ...] = ()
    """Steps of a repeated call, the first run included."""
    note: str = ""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """What is expected of a loop case."""

    ideal: bool | None
    """Whether it is a loop; None where that is a matter of thresholds."""
    expected: bool
    """Whether the system that it was taken from calls it one."""
    by_step: int | None = None
    """The step at which that system fires at the latest."""
    peer: str = ""
    basis: str = ""
    note: str = ""


class Trace(msgspec.Struct, frozen=True, kw_only=True):
    """A run to stream through the detectors. Reading its entries twice gives equal ones.

    An entry's `seq` is the index of its step plus 1; in a Claude Code transcript, the
    number of its line.
    """

    id: str
    group: str
    """Traces of one task or session share it: never split it in two."""
    dataset: str
    """The file it stands in; a Claude Code transcript's folder."""
    place: str
    """File and line, for a person."""
    digest: str = ""
    """Of a Claude Code transcript's content: 12 hexadecimal digits of its SHA-256."""
    objective: str | None = None
    tools: tuple[str, ...] | None = None
    labels: tuple[Label, ...] = ()
    errors: tuple[int, ...] = ()
    """Steps at which its source places an error of whatever class."""
    outcome: Outcome | None = None
    known: frozenset[str] = frozenset()
    """Classes of which it is known whether the trace holds them."""
    healthy: bool = False
    """A run that needed no intervention, as far as its source or its readers can tell."""
    case: Case | None = None
    batches: Batches
    """Its entries, those of one raw line or step together."""

    def entries(self) -> Iterator[Entry]:
        """All entries, in order."""
        for batch in self.batches():
            yield from batch

    def holds(self, failure: str) -> bool | None:
        """Whether the trace is labelled with the class; None where that is not known."""
        if any(label.failure == failure for label in self.labels):
            return True
        return False if failure in self.known else None

    @staticmethod
    def step_of(seq: int) -> int:
        """The index of an entry's step."""
        return seq - 1
