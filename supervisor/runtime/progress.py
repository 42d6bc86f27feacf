"""`Progress`: how far a session's transcripts have been read, and what stands in them."""

from __future__ import annotations

import asyncio
from collections import deque

from supervisor.core.digest import Digest, DigestWriter
from supervisor.core.entry import (
    Compaction,
    Entry,
    Notice,
    Origin,
    Prompt,
    Text,
    ToolCall,
    Unknown,
    is_output,
)
from supervisor.runtime.aftermath import may_write
from supervisor.store.interface import StoredEntry

__all__ = ["Progress"]

_BEGIN_TURNS = frozenset({Origin.USER, Origin.LUCID})

_RECENT_CALLS = 256
"""Tool calls remembered as read, to answer `caught_up` at once."""


class Progress:
    """Of one session. Each entry costs O(1)."""

    def __init__(self) -> None:
        self.turn_seq = 0
        """Where the main agent's newest turn began."""
        self.output_seq = 0
        """Where its model answered last."""
        self.rests = False
        """Whether the main agent's last word is the end of a turn."""
        self.compactions = 0
        """Compactions of its context so far."""
        self.summary = ""
        """What the newest of them left in its context."""
        self._newest: dict[str, str] = {}
        self._digest = DigestWriter(may_write)
        self._recent_calls: deque[str] = deque(maxlen=_RECENT_CALLS)
        self._waiting: dict[str, asyncio.Event] = {}
        self._said = ""
        self._said_seq = self._heard_seq = 0
        self._spoke = asyncio.Event()

    @property
    def digest(self) -> Digest:
        """What the agent was asked, has done and has tried."""
        return self._digest.digest

    def newest(self, transcript: str) -> str | None:
        """The uuid of the newest entry of a main transcript."""
        return self._newest.get(transcript)

    def note_line(self, stored: StoredEntry) -> None:
        """A line of a transcript has been read."""
        if stored.uuid and not stored.subpath:
            self._newest[stored.transcript] = stored.uuid

    def note(self, entry: Entry, *, inherited: bool) -> None:
        """An entry has been read, now or by a former worker."""
        self._digest.observe(entry)
        if entry.agent_id is not None:
            return
        if not isinstance(entry, Notice | Unknown):
            self.rests = isinstance(entry, Text) and entry.stop_reason == "end_turn"
        if isinstance(entry, Prompt) and entry.origin is Origin.COMPACTION:
            self.summary = entry.text
        # A fork's copies come late: the turn that is gone on with stands before them.
        if isinstance(entry, Prompt) and entry.origin in _BEGIN_TURNS and not inherited:
            self.turn_seq = entry.seq
        if isinstance(entry, Compaction):
            self.compactions += 1
        if not inherited and is_output(entry):
            self.output_seq = entry.seq

    def announce(self, entry: Entry) -> None:
        """Let those know that wait for the entry."""
        if isinstance(entry, ToolCall):
            self._recent_calls.append(entry.call_id)
            if waiting := self._waiting.get(entry.call_id):
                waiting.set()
        if isinstance(entry, Text) and entry.agent_id is None:
            self._said, self._said_seq = entry.text.strip(), entry.seq
            self._spoke.set()

    async def caught_up(self, call_id: str, within: float) -> bool:
        """Wait until the transcript has been read up to this tool call, at most `within`
        seconds; returns whether it has."""
        if call_id in self._recent_calls:
            return True
        event = self._waiting.setdefault(call_id, asyncio.Event())
        try:
            async with asyncio.timeout(within):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(call_id, None)
        return True

    async def heard(self, said: str, within: float, *, anew: bool = False) -> bool:
        """Wait until the transcript holds the main agent's last words, at most `within`
        seconds; returns whether it does. What was heard before, the same words perhaps, is
        not what the agent said `anew`."""
        behind = self._heard_seq if anew else 0
        try:
            async with asyncio.timeout(within):
                while said and not self._has_said(said, behind):
                    self._spoke.clear()
                    await self._spoke.wait()
        except TimeoutError:
            return False
        self._heard_seq = self._said_seq
        return True

    def _has_said(self, said: str, behind: int) -> bool:
        return self._said_seq > behind and bool(self._said) and self._said in said
