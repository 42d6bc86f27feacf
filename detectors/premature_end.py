"""Premature ends: the agent stops, or asks for leave, before it has done what was asked.

It is judged once, when a turn ends without a tool call after the last words, and fires on

- a *promise*: the last sentence announces a step ("Now I will run the tests.") that no
  call follows;
- *leave asked for what was ordered*: the last words ask whether to go on, although the
  user forbade such questions ("do not ask", "without stopping"), or ask whether to do
  the very thing that the user's prompt told it to, and nothing was changed in the turn;
- *work put off*: the last words leave the rest for later by the agent's own choice (length,
  time, brevity, "the remaining files can be done the same way");
- *open to-dos*: the to-do list has open items, and the last words neither claim that the
  work is done (that is `false_completion`) nor ask anything.

A real question is quiet: whatever is asked that the prompt did not order, a choice
between options, an offer of further work, a promise that waits for the user or for a
background task.

It does not catch an agent that stops in words other than these, or that silently leaves
out a part of what was asked. English only: in other languages it is silent, except on
open to-dos. Where the source gives no stop reasons, an ending shows only by what follows
it, so a transcript that was cut off within a turn looks like an ending.

Measured on the development half of the corpora: the one trace labelled so (BioAgent) is
found, as a promise; in 99 failed Who&When runs one more promise is. Healthy sessions (184
solved mini-SWE runs, 46 solved tau-bench runs, 153 Claude Code transcripts): no
intervention in 400 Claude Code endings and 286 of tau-bench; `open to-dos` is recorded
in one. That is too few labels to calibrate by: the confidences are judgement, and
`put off` never occurred.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from detectors._claims import claimed_done, sentences
from detectors._deeds import deed_of
from detectors._todos import Todos
from detectors._turns import Ending, Turns, asked_in
from detectors._verdicts import Place, place_of, verdict
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["PrematureEnd", "PrematureEndConfig"]

_QUOTED = 200
"""Characters of the agent's words that a verdict quotes."""
_ASKED = 2_000
"""Bytes kept of a prompt."""
_LAST = 400
"""Characters at the end of the last words in which a promise or a question stands."""
_SENTENCE = re.compile(r"(?<=[.!?…:])\s+|\n+")
_BULLET = re.compile(r"^[\s>*_#`-]+|[\s*_`]+$")

_STEP = (
    r"(?:run|re-?run|check|read|look|search|fix|update|create|write|implement|add|test|verify"
    r"|examine|inspect|edit|open|find|explore|investigate|review|start|begin|continue|proceed"
    r"|analy[sz]e|try|retrieve|prepare|install|build|rebuild|refactor|execute|apply|modify"
    r"|change|remove|move|rename|generate|debug|locate|collect|fetch|query|compile|commit|set"
    r"|raise|lower|replace|delete|send|deploy|document|call|copy|insert|append|restore)"
)
_PROMISE = re.compile(
    r"(?:(?:and|but|now|next|then|first|so|okay|ok|great|good|perfect|alright|finally)[,!.]?\s+)*"
    r"(?:let me|i'll|i will|i'm going to|i am going to)\s+"
    r"(?:(?:now|also|first|then|next|just|quickly|start by|begin by|go ahead and|try to)\s+)*"
    + _STEP
    + r"(?:ing)?\b",
    re.IGNORECASE,
)
_WAITS = re.compile(
    r"\b(?:if|once|when|whenever|after|until|unless|wait\w*|later|would|you|your|you're|next time"
    r"|future|confirm\w*|approv\w*|background|notified|completes|finishes)\b",
    re.IGNORECASE,
)
"""A promise with one of these depends on something else."""

_ASKS_LEAVE = re.compile(
    r"(?:would you like me to|do you want me to|want me to|shall i|should i|may i|can i"
    r"|is it (?:ok|okay|fine|alright) (?:if i|for me to)|are you ready for me to)\s+"
    r"(?P<offer>[^?\n]{1,160})\?"
    r"|(?:let me know|tell me) (?:if|when|whether) (?:you(?:'d| would)? (?:like|want) me to"
    r"|i (?:should|can|may))\s+(?P<told>[^.?!\n]{1,160})"
    r"|(?:awaiting|waiting for) your (?:approval|confirmation|permission|go-ahead)",
    re.IGNORECASE,
)
_ON_ITS_OWN = re.compile(
    r"(?:^|[.!;\n]\s*)(?:[-*]\s+)?(?:please\s+|and\s+|just\s+)?"
    r"(?:do not|don't|never|no need to)\s+(?:stop(?:ping)?\s+(?:to|and|or)\s+)?"
    r"(?:ask(?:ing)?|wait(?:ing)?|check(?:ing)? (?:in )?with me|prompt(?:ing)? me)\b"
    r"|\bwithout (?:asking|stopping|pausing|interruption|confirmation|any confirmation)\b"
    r"|\bno (?:confirmation|(?:clarifying )?questions) (?:(?:is|are) )?(?:needed|required)\b"
    r"|\b(?:work|act|proceed|continue|run) (?:fully |completely )?autonomously\b"
    r"|\bdo(?: not|n't) stop until\b|(?<!not )\bkeep going until\b",
    re.IGNORECASE,
)
"""The user wants no questions."""
_VERB = re.compile(r"[a-z]+", re.IGNORECASE)
_ORDER = re.compile(
    r"(?:^|[.!;:\n]\s*|\b(?:please|and|then)\s+)(?:please\s+|now\s+|go ahead and\s+)*"
    r"(fix|implement|add|create|write|update|refactor|remove|delete|rename|move|run|install|build"
    r"|commit|push|deploy|migrate|convert|replace|apply|generate|merge|rebase)\b",
    re.IGNORECASE,
)

_PUT_OFF = re.compile(
    r"\b(?:due to|because of|given) (?:the )?(?:\w+ )?(?:time|length|token|context|space|output)"
    r" (?:\w+ )?(?:constraints?|limits?|limitations?|budget|restrictions?)\b"
    r"|\bfor (?:the sake of )?brevity\b[^.\n]{0,80}\b(?:only|rest|remaining|omit|skip)"
    r"|\b(?:the )?(?:rest|remaining|other)(?: \w+){0,3} (?:can|could|should|would|will) be"
    r" (?:done|completed|added|handled|implemented|converted|updated|migrated) (?:similarly|later"
    r"|in the same way|the same way|in a similar|following the same)"
    r"|\bleft as an exercise\b",
    re.IGNORECASE,
)


class PrematureEndConfig(DetectorConfig):
    """What counts as an end that came too early."""

    open_todos: bool = True
    """Whether open to-dos at an end without a question count. Off, where agents keep
    lists that nobody means to finish in the session."""


@dataclass(slots=True, frozen=True)
class _Finding:
    """A premature end, before it is put into a verdict."""

    pattern: str
    confidence: float
    summary: str
    quoted: str


class PrematureEnd(Detector):
    """Finds turns that end before the work does."""

    name = "premature_end"
    failure_mode = FailureMode.PREMATURE_END
    Config = PrematureEndConfig
    config: PrematureEndConfig

    def __init__(self, config: PrematureEndConfig | None = None) -> None:
        super().__init__(config)
        self._turns = Turns()
        self._todos = Todos()
        self._last: Place | None = None
        """Where the last words stand."""
        self._asked = b""
        """What the user last asked for: its start, in UTF-8, which keeps it small."""
        self._changed = False

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Judge the turn that this entry ends, if any. Constant time."""
        ending = self._turns.observe(entry)
        found = () if ending is None else self._judge(ending, entry)
        self._todos.observe(entry)
        if isinstance(entry, Text):
            self._last = place_of(entry)
        elif isinstance(entry, ToolCall):
            self._changed = self._changed or deed_of(entry).may_change
        elif isinstance(entry, Prompt):
            self._hear(entry)
        return found

    def _hear(self, prompt: Prompt) -> None:
        if prompt.origin is Origin.USER:
            self._changed = False
        if prompt.origin in {Origin.USER, Origin.AGENT}:
            self._asked = asked_in(prompt).encode(errors="replace")[:_ASKED]

    def finish(self) -> Iterable[Verdict]:
        """Judge the last words, if nothing showed yet that they end the turn."""
        ending = self._turns.finish()
        if ending is None or self._last is None:
            return ()
        return self._judge(ending, self._last)

    def _judge(self, ending: Ending, entry: Entry | Place) -> tuple[Verdict, ...]:
        found = (
            _promise(ending)
            or _leave(ending, self._asked, self._changed)
            or _put_off(ending)
            or self._left_open(ending)
        )
        return () if found is None else (self._verdict(found, ending, entry),)

    def _left_open(self, ending: Ending) -> _Finding | None:
        todos = self._todos.open()
        if not todos or not self.config.open_todos or ending.question:
            return None
        if claimed_done(sentences(ending.said)):
            return None
        return _Finding("open to-dos", 0.5, "Stopped with open to-dos", "; ".join(todos))

    def _verdict(self, found: _Finding, ending: Ending, entry: Entry | Place) -> Verdict:
        quoted = one_line(found.quoted, _QUOTED)
        return verdict(
            self,
            entry,
            onset_seq=ending.seq,
            confidence=found.confidence,
            summary=f"{found.summary}: {quoted}",
            entries=(ending.seq, entry.seq),
            facts={"pattern": found.pattern, "quoted": quoted, "calls": ending.calls},
            key=found.pattern,
        )


def _promise(ending: Ending) -> _Finding | None:
    tail = ending.said[-_LAST:]
    parts = [_BULLET.sub("", part) for part in _SENTENCE.split(tail)]
    last = next((part for part in reversed(parts) if part), "")
    if "?" in tail or not _PROMISE.match(last) or _WAITS.search(last):
        return None
    return _Finding("promise", 0.85, "Announced a step and stopped", last)


def _leave(ending: Ending, prompt: bytes, changed: bool) -> _Finding | None:
    question = _ASKS_LEAVE.search(ending.said[-_LAST:])
    if question is None:
        return None
    asked = prompt.decode(errors="ignore")
    if _ON_ITS_OWN.search(asked):
        return _Finding("leave", 0.85, "Asked, although it was told not to ask", question[0])
    offer = _VERB.match((question["offer"] or question["told"] or "").strip())
    orders = {order.lower() for order in _ORDER.findall(asked)}
    # A prompt that asks something orders nothing yet.
    if changed or "?" in asked or offer is None or offer[0].lower() not in orders:
        return None
    return _Finding("leave", 0.8, "Asked for leave to do what it was told to do", question[0])


def _put_off(ending: Ending) -> _Finding | None:
    words = _PUT_OFF.search(ending.said)
    if words is None or ending.question:
        return None
    return _Finding("put off", 0.7, "Put the rest of the work off", words[0])
