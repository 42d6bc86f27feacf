"""What an agent is told about its own failure.

Feedback that names the failure and its evidence recovers more agents than an order
does, and an order more than silence (SWE-PRM, arXiv 2509.02360; Wink, 2602.17037). So
every text here says what was seen, quotes it, and leaves the next step to the agent.

Quoted material is the agent's own transcript and untrusted: it is bounded, stripped of
control characters and put in JSON string quotes, so that it can neither end its quote
nor pass for Lucid's words.
"""

from __future__ import annotations

import json

from supervisor.core.entry import LUCID_MARKER
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict

__all__ = [
    "addressed",
    "evidence_lines",
    "failure_named",
    "feedback",
    "quote",
    "told_value",
    "way_out",
]

_WAY_OUT: dict[FailureMode, str] = {
    FailureMode.LOOP: (
        "Repeating it will give the same result. Say in one sentence what that result "
        "tells you, then take a step that can bring new information: another source, "
        "another tool, other arguments. If nothing else is left to try, say what blocks you."
    ),
    FailureMode.HALLUCINATED_TOOL: (
        "Only call tools that you were given. If none fits, do the step with the tools "
        "you have, or say what is missing."
    ),
    FailureMode.DRIFT: (
        "Read the task again, with its conditions. Say in one sentence what is still to be "
        "done, undo what breaks a condition, and do that next."
    ),
    FailureMode.FALSE_COMPLETION: (
        "Do what is missing, or check it with a tool call that shows it. Then say what is "
        "done and what is not, as the results show."
    ),
    FailureMode.PREMATURE_END: (
        "You need no leave for what you were asked to do. Go on until it is done; stop only "
        "for a question that you cannot settle yourself, and then ask it."
    ),
    FailureMode.CONTEXT_BLOAT: (
        "Do not read again what you have read. Ask for less at a time: part of a file, the "
        "lines that match, the end of a log. Note what you need of a long result at once."
    ),
    FailureMode.STALL: (
        "Say in one sentence what blocks you, then take the smallest step that would tell "
        "more, or ask for what is missing."
    ),
    FailureMode.INCOHERENCE: "Say in one plain sentence what the next step is, then take it.",
    FailureMode.OVERRUN: (
        "Bring it to an end: finish what is nearly done, leave out what is not needed, and "
        "say what is left and what it would take."
    ),
}
_ANY_WAY_OUT = "Go back to the objective and choose a step that serves it."
_ITEMS = 8
"""Items of one fact that are quoted: a round of the longest loop looked for."""


def quote(text: str, limit: int = 200) -> str:
    """`text` as one bounded, quoted line that cannot break out of its quotes.

    >>> print(quote("one\\n</lucid>"))
    "one \\u003c/lucid\\u003e"
    """
    quoted = json.dumps(one_line(text, limit), ensure_ascii=False)
    return quoted.replace("<", "\\u003c").replace(">", "\\u003e")


def feedback(verdict: Verdict) -> str:
    """What was seen, its evidence and the way out, for the agent to read."""
    return "\n".join(
        [f"{failure_named(verdict)}. Evidence:", *evidence_lines(verdict), way_out(verdict)]
    )


def failure_named(verdict: Verdict) -> str:
    """The failure in a few words, said to the agent."""
    return _NAMES[verdict.failure_mode]


def evidence_lines(verdict: Verdict) -> list[str]:
    """The facts that the verdict rests on, a quoted and bounded line each."""
    return [
        f"- {_LABELS.get(name, name).replace('_', ' ')}: {told_value(value)}"
        for name, value in verdict.evidence.facts.items()
    ]


def way_out(verdict: Verdict) -> str:
    """What an agent that failed so can do; it leaves the step itself to the agent."""
    return _WAY_OUT.get(verdict.failure_mode, _ANY_WAY_OUT)


def told_value(value: object) -> str:
    """A fact, for the agent to read: text in it is quoted and bounded."""
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        more = ["…"] if len(value) > _ITEMS else []
        return ", ".join([*(quote(str(item), 80) for item in value[:_ITEMS]), *more]) or "none"
    return str(value)


_LABELS = {"is_error": "failed", "nearest": "nearest tools that exist"}
"""Facts by the name an agent understands, where that differs."""

_NAMES: dict[FailureMode, str] = {
    FailureMode.LOOP: "You repeated yourself without progress",
    FailureMode.HALLUCINATED_TOOL: "You called a tool that does not exist",
    FailureMode.DRIFT: "You moved away from the objective",
    FailureMode.CONTEXT_BLOAT: "Your context filled up with what you no longer need",
    FailureMode.FALSE_COMPLETION: "You claimed a result that the record does not show",
    FailureMode.PREMATURE_END: "You stopped before the objective was reached",
    FailureMode.STALL: "You made no progress for a while",
    FailureMode.INCOHERENCE: "Your output became incoherent",
    FailureMode.OVERRUN: "You have used up what you were given for this",
    FailureMode.INTERRUPTION: "The run was interrupted",
    FailureMode.STOP: "You are about to end your turn",
}


def addressed(text: str) -> str:
    """`text` marked as Lucid's, so that agent, transcript and replay can tell."""
    return f"{LUCID_MARKER}\n{text}\n{LUCID_MARKER.replace('<', '</')}"
