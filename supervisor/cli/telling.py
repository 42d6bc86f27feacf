"""Running a supervised session and telling its story as it happens."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import asdict, dataclass, field
from typing import Any

from claude_agent_sdk import ClaudeSDKError

from supervisor.cli.exits import Exit, exit_of
from supervisor.cli.output import short
from supervisor.cli.shared import program
from supervisor.cli.tally import Tally
from supervisor.cli.terminal import Terminal
from supervisor.core.session import SessionState
from supervisor.core.text import one_line
from supervisor.runtime.client import SupervisedClient
from supervisor.runtime.feed import user_message

__all__ = ["Ending", "tell"]

_HEADLINES = {
    SessionState.REACHED: "Reached: the agent finished, and no failure is left that Lucid knows of",
    SessionState.GAVE_UP: "Gave up",
    SessionState.ABORTED: "Aborted by the policy",
    SessionState.BROKEN: "Broken: the infrastructure failed",
    SessionState.CLOSED: "Left before the agent finished; what it did so far is kept",
}


@dataclass
class Ending:
    """How a session ended, and what it came to."""

    session_id: str
    look: str
    """The command that shows it."""
    state: SessionState = SessionState.CLOSED
    reason: str = ""
    tally: Tally = field(default_factory=Tally)

    @property
    def exit(self) -> Exit:
        """The exit code that says so."""
        return exit_of(self.state)

    @property
    def headline(self) -> str:
        """One sentence."""
        why = f": {one_line(self.reason, 200)}" if self.reason else ""
        return _HEADLINES.get(self.state, str(self.state)) + why

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
            ("look closer", self.look),
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


async def tell(
    client: SupervisedClient, objective: str, terminal: Terminal, *, store: str = ""
) -> Ending:
    """Give the objective to the agent and tell all that happens up to its end, the
    background work of its subagents included.

    Connects and disconnects the client. `store` is the option that a later command needs
    to find the session. Raises what the SDK raises where the agent cannot be started; a
    cancelled telling still says where it was left.
    """
    await client.connect(_only(objective))
    session_id = client.session_id or ""
    ending = Ending(session_id, f"{program()} show {short(session_id)}{store}")
    try:
        with terminal:
            await _follow(client, terminal, ending)
    except asyncio.CancelledError:
        await client.disconnect()
        terminal.close(ending.headline, ending.lines(), ending.data())
        raise
    finally:
        await client.disconnect()
    terminal.close(ending.headline, ending.lines(), ending.data())
    return ending


async def _only(objective: str) -> AsyncIterator[dict[str, Any]]:
    """A stream of one prompt: it ends the agent's input, so that the agent ends when all
    its work is done, not with its first answer."""
    yield user_message(objective)


async def _follow(client: SupervisedClient, terminal: Terminal, ending: Ending) -> None:
    error = None
    try:
        async for message in client.receive_messages():
            ending.tally.count(message)
            terminal.show(message, ending.tally)
    except ClaudeSDKError as raised:
        error = raised
    ending.state, ending.reason = client.state
    if ending.state is SessionState.RUNNING:
        ending.state = SessionState.BROKEN
        ending.reason = str(error or "the agent's process ended without a result").split("\n")[0]
