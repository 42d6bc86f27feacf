"""Where an agent's turn ends, and with what words: shared by detectors that judge endings.

A turn has ended when the model says so (`stop_reason` is `end_turn`). Sources without
stop reasons show it only by what follows the last words: the runtime's own notice, the
next turn's prompt, or nothing at all.
"""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, ToolCall

__all__ = ["INTERRUPTED", "Ending", "Turns", "asked_in", "hands_over"]

_HEAD = 2_000
_TAIL = 1_000
"""Bytes kept of the last words. Claims stand first, questions and promises last;
nearly all of the 400 endings in the corpora's Claude Code transcripts are kept whole."""
_CLOSED_BY = frozenset({"system/stop_hook_summary", "system/turn_duration"})
"""What the runtime writes after a turn, and never within one."""
INTERRUPTED = "[Request interrupted"
"""How the prompt begins that the runtime writes where a person stopped the agent."""
_HANDING_OVER = frozenset({"attempt_completion", "final_answer", "finish", "submit"})
_HANDOVER_MARKS = (b"final_answer(", b"COMPLETE_TASK_AND_SUBMIT")
"""Words of smolagents and mini-SWE-agent, which hand over within code and commands."""
_LOOKED_AT = 4_000
"""Bytes of arguments searched for them."""


@dataclass(slots=True, frozen=True)
class Ending:
    """The last words of a turn in which the agent stopped by itself."""

    seq: int
    said: str
    """Bounded: their beginning and their end."""
    calls: int
    """Tool calls made in the turn."""
    question: bool
    """Whether they hold a question near their end: the agent waits for an answer."""


class Turns:
    """Follows one agent's turns. Bounded state, constant time."""

    def __init__(self) -> None:
        self._begin(0)

    def _begin(self, turn: int) -> None:
        self._turn = turn
        self._calls = 0
        self._forget()

    def _forget(self) -> None:
        self._seq = 0
        self._said = b""
        self._message: str | None = None
        self._may_end = True

    def observe(self, entry: Entry) -> Ending | None:
        """Take the next entry; return the ending that it completes or shows."""
        if isinstance(entry, Text):
            return self._hear(entry)
        if isinstance(entry, ToolCall):
            self._calls += 1
            self._forget()
        elif isinstance(entry, Prompt):
            return self._hear_prompt(entry)
        elif isinstance(entry, Notice) and entry.type in _CLOSED_BY:
            return self.finish()
        return None

    def finish(self) -> Ending | None:
        """The ending, if the last words have not been judged yet; once."""
        said, seq, may_end = self._words(), self._seq, self._may_end
        self._forget()
        if not may_end or not said.strip():
            return None
        return Ending(seq, said, self._calls, "?" in said[-_TAIL:])

    def unjudged(self, seq: int) -> Ending:
        """The last words so far, where a call at `seq` shows that they end the work."""
        return Ending(self._seq or seq, self._words(), self._calls, question=False)

    def _words(self) -> str:
        return _plain(self._said.decode(errors="ignore"))

    def _hear(self, entry: Text) -> Ending | None:
        together = entry.message_id is not None and entry.message_id == self._message
        text = _ends_of(entry.text).encode(errors="replace")
        self._said = _shortened(b"%b\n%b" % (self._said, text) if together else text)
        self._seq, self._message = entry.seq, entry.message_id
        # With another reason a call follows, or the words were cut off: see `incoherence`.
        self._may_end = entry.stop_reason in {None, "end_turn"}
        return self.finish() if entry.stop_reason == "end_turn" else None

    def _hear_prompt(self, entry: Prompt) -> Ending | None:
        if entry.text.startswith(INTERRUPTED):
            self._forget()
        if entry.origin not in {Origin.USER, Origin.AGENT, Origin.LUCID}:
            return None
        # A prompt typed while the agent is at work joins the open turn, number and all.
        ending = self.finish() if entry.turn != self._turn or not entry.turn else None
        self._begin(entry.turn)
        return ending


def asked_in(prompt: Prompt) -> str:
    """The start of what the user, or a parent agent, asks for."""
    return _plain(prompt.text[:_HEAD])


def _ends_of(text: str) -> str:
    return text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"


def _shortened(text: bytes) -> bytes:
    return text if len(text) <= _HEAD + _TAIL else text[:_HEAD] + b"\n" + text[-_TAIL:]


def _plain(text: str) -> str:
    """With the typewriter's apostrophe, so that patterns need to know only one."""
    return text.replace("\u2019", "'")


def hands_over(call: ToolCall) -> bool:
    """Whether this call delivers the agent's final answer or work.

    >>> import msgspec
    >>> place = {"session_id": "s", "transcript": "t", "seq": 1, "call_id": "c"}
    >>> hands_over(ToolCall(**place, tool="submit"))
    True
    >>> code = msgspec.Raw(b'{"code": "final_answer(42)"}')
    >>> hands_over(ToolCall(**place, tool="python_interpreter", input=code))
    True
    """
    if call.tool in _HANDING_OVER:
        return True
    given = bytes(memoryview(call.input)[:_LOOKED_AT])
    return any(mark in given for mark in _HANDOVER_MARKS)
