"""Running a supervised session and telling its story as it happens."""

from __future__ import annotations

from claude_agent_sdk import ClaudeSDKError, ResultMessage

from supervisor.cli.story import Tally
from supervisor.cli.terminal import Terminal
from supervisor.core.session import SessionState
from supervisor.runtime.client import SupervisedClient

__all__ = ["tell"]

_HEADLINES = {
    SessionState.REACHED: "Reached: the agent finished, and no failure is left that Lucid knows of",
    SessionState.GAVE_UP: "Gave up",
    SessionState.ABORTED: "Aborted by the policy",
    SessionState.BROKEN: "Broken: the infrastructure failed",
}


async def tell(
    client: SupervisedClient, objective: str, terminal: Terminal, tally: Tally | None = None
) -> SessionState:
    """Give the objective to the agent and tell all that happens up to its end.

    Connects and disconnects the client; `tally` is counted up. Raises what the SDK
    raises where the agent could not be started.
    """
    counted = tally if tally is not None else Tally()
    await client.connect()
    try:
        with terminal:
            await client.query(objective)
            async for message in client.receive_messages():
                counted.count(message)
                terminal.show(message, counted)
                if isinstance(message, ResultMessage):
                    break
            state, reason = client.state
    except ClaudeSDKError:
        state, reason = client.state
        if not counted.results:
            raise
    finally:
        session_id = client.session_id or ""
        await client.disconnect()
    headline = _HEADLINES.get(state, str(state)) + (f": {reason}" if reason else "")
    summary = [("session", f"{session_id}  (lucid show {session_id[:8]})"), *counted.lines()]
    terminal.close(headline, summary)
    return state
