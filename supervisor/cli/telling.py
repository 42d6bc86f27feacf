"""Running a supervised session and telling its story as it happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import asdict, dataclass, field

from claude_agent_sdk import AssistantMessage, Message, TextBlock

from supervisor.cli.exits import Exit, exit_of
from supervisor.cli.output import short
from supervisor.cli.shared import program
from supervisor.cli.tally import Tally
from supervisor.cli.terminal import Terminal
from supervisor.core.interruption import Cause, Interruption
from supervisor.core.session import SessionState
from supervisor.core.text import one_line
from supervisor.runtime.runner import SessionRun

__all__ = ["Ending", "tell"]

_HEADLINES = {
    SessionState.REACHED: "Reached: the agent finished, and no failure is left that Lucid knows of",
    SessionState.GAVE_UP: "Gave up",
    SessionState.ABORTED: "Aborted by the policy",
    SessionState.PAUSED: "Paused: it waits for a person",
    SessionState.BROKEN: "Broken: the infrastructure failed",
    SessionState.RUNNING: "Left in the midst of its work, which is kept",
    SessionState.CLOSED: "Left before the agent finished; what it did so far is kept",
}

_OF_REFUSED = {Cause.INTERRUPTED: Exit.USAGE, Cause.LIMIT_REACHED: Exit.GAVE_UP}
"""Where a person is to say how to go on, nothing is broken."""


@dataclass
class Ending:
    """How a session ended, and what it came to."""

    session_id: str
    store: str = ""
    """The option that a command needs to find it."""
    state: SessionState = SessionState.CLOSED
    reason: str = ""
    refused: Interruption | None = None
    """Why it was not gone on with: no machine may."""
    tally: Tally = field(default_factory=Tally)

    @property
    def exit(self) -> Exit:
        """The exit code that says so."""
        if self.refused is not None:
            return _OF_REFUSED.get(self.refused.cause, Exit.BROKEN)
        return exit_of(self.state)

    @property
    def headline(self) -> str:
        """One sentence."""
        why = f": {one_line(self.reason, 200)}" if self.reason else ""
        if self.refused is not None:
            return f"Not gone on with ({self.refused.cause}){why}"
        return _HEADLINES.get(self.state, str(self.state)) + why

    def _command(self, name: str) -> str:
        return f"{program()} {name} {short(self.session_id)}{self.store}"

    def _ways_on(self) -> list[tuple[str, str]]:
        if self.state is SessionState.PAUSED:
            return [
                ("let it go on", self._command("approve")),
                ("or not so", f"{self._command('reject')} 'WHY'"),
            ]
        if self.refused is not None or self.state is SessionState.CLOSED:
            said = "once that is put right, " if self.exit is Exit.BROKEN and self.refused else ""
            return [("go on", f"{said}{self._command('resume')} --say 'Go on.'")]
        if self.state in (SessionState.REACHED, SessionState.GAVE_UP):
            return []
        return [("go on", self._command("resume"))]

    def lines(self) -> list[tuple[str, str]]:
        """The summary: a name and a value each."""
        tally = self.tally
        return [
            ("session", self.session_id),
            *tally.spent,
            ("verdicts", _counted(tally.verdicts)),
            ("decisions", _counted(tally.decisions)),
            ("outcomes", ", ".join(tally.outcomes) or "none"),
            *([("incidents", str(tally.incidents))] if tally.incidents else []),
            ("look closer", self._command("show")),
            *self._ways_on(),
        ]

    def data(self) -> dict[str, object]:
        """The summary for machines."""
        read, written = self.tally.tokens
        return {
            "session_id": self.session_id,
            "state": self.state,
            "reason": self.reason,
            "exit_code": int(self.exit),
            "tool_calls": self.tally.tool_calls,
            "tokens": {"input": read, "output": written},
            "cost_usd": self.tally.cost_usd,
            "verdicts": self.tally.verdicts,
            "decisions": self.tally.decisions,
            "actions": [asdict(acted) for acted in self.tally.acted.values()],
            "incidents": self.tally.incidents,
        }


def _counted(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counter.items()) or "none"


async def tell(run: SessionRun, terminal: Terminal, *, store: str = "") -> Ending:
    """Run a session and tell all that happens up to its end, the background work of its
    subagents included.

    `store` is the option that a later command needs to find the session. Raises what the
    SDK raises where the agent cannot be started; a cancelled telling still says where it
    was left.
    """
    ending = Ending(run.session_id, store)

    def hear(message: Message) -> None:
        ending.tally.count(message)
        terminal.show(message, ending.tally)

    try:
        with terminal:
            finish = await run.run(hear)
        ending.state, ending.reason = finish.state, finish.reason
        ending.refused = finish.refused
        if finish.answer is not None:
            terminal.show(AssistantMessage([TextBlock(finish.answer)], ""), ending.tally)
    except asyncio.CancelledError:
        terminal.close(ending.headline, ending.lines(), ending.data())
        raise
    terminal.close(ending.headline, ending.lines(), ending.data())
    return ending
