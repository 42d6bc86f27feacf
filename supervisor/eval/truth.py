"""Which failure modes answer for which labelled class."""

from __future__ import annotations

from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["CLASSES", "answers", "classes_of"]

CLASSES: dict[str, frozenset[FailureMode]] = {
    **{str(mode): frozenset({mode}) for mode in FailureMode},
    # A real tool used wrongly, or the wrong one, or none: what a tool refuses, and an answer
    # from no look-up at all. The mode covers both; `_KINDS` says which of its verdicts.
    "tool_misuse": frozenset({FailureMode.HALLUCINATED_TOOL}),
    # What was in the context and is not used any more: re-reads, stale and duplicate
    # results are what the mode measures.
    "context_loss": frozenset({FailureMode.CONTEXT_BLOAT}),
}
"""By class. Two of them are no failure mode of Lucid's; they are scored by the mode that
comes nearest, and reported under their own name."""


_MISUSES = frozenset({"nothing_consulted", "rejected_arguments"})
"""Kinds of `hallucinated_tool` that say a tool was misused. TRAIL calls it a tool selection
error where none is used, AgentRx an invalid invocation where its arguments are refused."""
_INVENTS_NOTHING = frozenset({"nothing_consulted"})
"""The one kind that says nothing of a tool, a name or a result that does not exist."""


def answers(failure: str, verdict: Verdict) -> bool:
    """Whether such a verdict says that the trace holds the class. Every verdict says so of
    some class, so that none goes unscored."""
    if verdict.failure_mode not in CLASSES.get(failure, ()):
        return False
    kind = verdict.evidence.facts.get("kind")
    if failure == "tool_misuse":
        return kind in _MISUSES
    return not (failure == FailureMode.HALLUCINATED_TOOL and kind in _INVENTS_NOTHING)


def classes_of(mode: FailureMode) -> list[str]:
    """The classes that a mode answers for, its own first."""
    return [name for name, modes in CLASSES.items() if mode in modes]
