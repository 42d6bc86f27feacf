"""Incoherence: the model's output falls apart.

It fires on

- *degenerate*: prose that repeats a few words over and over, one letter in a long run, or
  characters that mean nothing.
- *leaked*: tokens that frame turns, or the user's next prompt, written by the agent.
- *language*: prose in a script, or two texts in a language of the Latin script, that
  neither the user nor a tool result has used, after the agent had settled on another.
- *truncated*: messages cut off at the model's limit, two in a row.
- *poisoned*: an error message taken for a path or an address in a later call.

Code fences, tables, logs and inline code are left out, and so is all but the beginning
and the end of a long text. A session in any language is quiet, also where only a hidden
setting asks for it, and so is one that is about translation. English is never a wrong
language. Languages are told by their commonest words, seven of them.

It does not catch nonsense in fluent words, contradictions, or thinking that falls apart
where the source withholds it. Repeated texts, message by message, are `loop`'s.

On the development half of the corpora it finds nothing in 1,351 real traces, 382 of them
healthy: nobody's output falls apart there. It finds 35 of the 204 loop cases, all of them
made-up texts that repeat themselves. Its confidences are judgement.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from detectors._verdicts import verdict
from detectors.incoherence.degeneration import broken_argument, degenerate, leaked, prose
from detectors.incoherence.language import foreign_script, language_of, scripts_in
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, Text, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict

__all__ = ["Incoherence", "IncoherenceConfig", "Kind"]

_EXCERPT = 160
_ARGUMENTS = 1_024
"""Bytes of a call's arguments that are looked at."""
_SEEN = 1_000
"""Characters of a result in which foreign scripts show."""
_ASKED = 8_000
"""Characters of a prompt that are looked at."""
_FEWEST_LETTERS = 40
"""Characters of prose from which its language is looked at."""
_SETTLED = 3
"""Texts after which an agent's language is settled. Before, a foreign one is taken for what
a setting asks for that the transcript does not show."""
_LANGUAGE_IN_A_ROW = 2
"""Texts in one wrong language of the Latin script: one may be a quotation."""
_TRANSLATION = (
    "translat",
    "locali",
    "language",
    "i18n",
    "übersetz",
    "traduc",
    "traduz",
    "tradui",
    "vertaal",
    "sprache",
    "idioma",
    "langue",
    "lingua",
)
"""In a prompt, they make any language a right one."""


class Kind(StrEnum):
    """How the agent lost the thread; the fact `kind` of every verdict."""

    DEGENERATE = "degenerate"
    LEAKED = "leaked"
    LANGUAGE = "language"
    TRUNCATED = "truncated"
    POISONED = "poisoned"


_CONFIDENCE = {
    Kind.DEGENERATE: 0.9,
    Kind.LEAKED: 0.8,
    Kind.LANGUAGE: 0.8,
    Kind.TRUNCATED: 0.85,
    Kind.POISONED: 0.85,
}


class IncoherenceConfig(DetectorConfig):
    """When output is incoherent."""

    truncations: int = Field(2, ge=1)
    """Messages in a row that were cut off at the model's limit, from which the agent does
    not get to its point. One happens to a long answer, and the runtime goes on by itself."""
    languages: bool = True
    """Whether a text in a language that nobody used before counts."""


class Incoherence(Detector):
    """Finds output that is degenerate, cut off, in the wrong language, or poisoned."""

    name = "incoherence"
    failure_mode = FailureMode.INCOHERENCE
    Config = IncoherenceConfig
    config: IncoherenceConfig

    def __init__(self, config: IncoherenceConfig | None = None) -> None:
        super().__init__(config)
        self._scripts: frozenset[str] = frozenset()
        self._languages: frozenset[str] = frozenset()
        self._any_language = not self.config.languages
        self._texts = 0
        self._foreign: list[int] = []
        self._cut: list[int] = []
        self._cut_message: str | None = None

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Judge each text and call; bounded time."""
        match entry:
            case Text():
                return self._text(entry)
            case ToolCall():
                self._cut = self._cut if entry.stop_reason == "max_tokens" else []
                head = bytes(memoryview(entry.input)[:_ARGUMENTS])
                if broken_argument(head):
                    given = one_line(head.decode(errors="ignore"), _EXCERPT)
                    said = f"Took an error message for a value: {given}"
                    return (self._verdict(Kind.POISONED, entry, (entry.seq,), said, given),)
            case ToolResult():
                self._learn_scripts(entry.text[:_SEEN])
            case Prompt():
                self._asked(entry)
        return ()

    def _asked(self, entry: Prompt) -> None:
        self._cut = []
        text = entry.text[:_ASKED]
        self._learn_scripts(text)
        if entry.origin in {Origin.META, Origin.LUCID}:
            return
        lower = text.lower()
        self._any_language = self._any_language or any(word in lower for word in _TRANSLATION)
        if (language := language_of(text)) is not None:
            self._languages |= {language}

    def _learn_scripts(self, text: str) -> None:
        if not text.isascii() and not self._any_language:
            self._scripts |= scripts_in(text)

    def _text(self, entry: Text) -> Iterable[Verdict]:
        text = prose(entry.text)
        if how := degenerate(text):
            said = f"Wrote text that falls apart: {how}."
            return (self._verdict(Kind.DEGENERATE, entry, (entry.seq,), said, text),)
        if token := leaked(text):
            said = f"Wrote what frames a conversation as a part of it: {token}."
            return (self._verdict(Kind.LEAKED, entry, (entry.seq,), said, text),)
        if entry.stop_reason == "max_tokens":
            return self._truncated(entry)
        self._cut = []
        return () if self._any_language else self._language(entry, text)

    def _truncated(self, entry: Text) -> Iterable[Verdict]:
        if entry.message_id is None or entry.message_id != self._cut_message:
            self._cut_message = entry.message_id
            self._cut = [*self._cut, entry.seq][-self.config.truncations :]
        if len(self._cut) < self.config.truncations:
            return ()
        cut, self._cut = tuple(self._cut), []
        said = f"{len(cut)} messages in a row were cut off at the model's limit."
        return (self._verdict(Kind.TRUNCATED, entry, cut, said, entry.text[-_EXCERPT:]),)

    def _language(self, entry: Text, text: str) -> Iterable[Verdict]:
        if len(text) < _FEWEST_LETTERS:
            return ()
        self._texts += 1
        if script := foreign_script(text, self._scripts):
            self._scripts |= {script}  # told once
            return self._switched(entry, (entry.seq,), f"Wrote in {script} script", text)
        language = language_of(text) if self._languages else None
        if language is None:
            return ()
        if language == "English" or language in self._languages:
            self._foreign = []
            return ()
        self._foreign.append(entry.seq)
        if len(self._foreign) < _LANGUAGE_IN_A_ROW:
            return ()
        foreign, self._foreign = tuple(self._foreign), []
        self._languages |= {language}
        return self._switched(entry, foreign, f"Wrote {language}", text)

    def _switched(
        self, entry: Text, entries: tuple[int, ...], what: str, text: str
    ) -> Iterable[Verdict]:
        if self._texts <= _SETTLED:
            return ()
        said = f"{what}, which nobody has used in this session."
        return (self._verdict(Kind.LANGUAGE, entry, entries, said, text),)

    def _verdict(
        self,
        kind: Kind,
        entry: Text | ToolCall,
        entries: tuple[int, ...],
        summary: str,
        excerpt: str,
    ) -> Verdict:
        return verdict(
            self,
            entry,
            onset_seq=entries[0],
            confidence=_CONFIDENCE[kind],
            summary=one_line(summary, 2 * _EXCERPT),
            entries=entries,
            facts={"kind": kind.value, "excerpt": one_line(excerpt, _EXCERPT)},
            key=kind.value,
        )
