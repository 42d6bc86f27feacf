"""`Word`: what a person says to a session from outside, and that its agent got it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

import msgspec

__all__ = ["Heard", "Saying", "Word"]


class Saying(StrEnum):
    """The ways to answer a session."""

    APPROVE = "approve"
    """What it does, or has done, is right: it goes on."""
    REJECT = "reject"
    """It is not right."""
    SAY = "say"


_WORDLESS = {
    Saying.APPROVE: "go on with the task.",
    Saying.REJECT: "do it another way, or say what you need.",
    Saying.SAY: "",
}


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a person says, kept until the session's agent gets it."""

    session_id: str
    id: str
    """Unique in its session."""
    at: datetime
    saying: Saying
    text: str = ""
    """In the person's own words; may be empty where the saying says it all."""
    by: str = ""
    """Who, as far as the command that took it knows."""

    @property
    def told(self) -> str:
        """What the agent reads."""
        said = {
            Saying.APPROVE: "A person has looked at your work and approves of it:",
            Saying.REJECT: "A person has looked at your work and rejects it:",
            Saying.SAY: "A person who watches over your work says:",
        }[self.saying]
        return f"{said} {self.text or _WORDLESS[self.saying]}".rstrip()


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """That a word was put to the agent."""

    session_id: str
    word_id: str
    at: datetime
