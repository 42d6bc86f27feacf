"""Exit codes of `lucid`."""

from __future__ import annotations

from enum import IntEnum

from supervisor.core.session import SessionState

__all__ = ["Exit", "exit_of"]


class Exit(IntEnum):
    """What a process's end says. Shown by `lucid run --help` and in the README."""

    REACHED = 0
    """The objective was reached, as far as Lucid knows; for other commands: done."""
    GAVE_UP = 1
    """The agent ran into a limit, or finished with a failure unresolved; `lucid scan`
    found something."""
    USAGE = 2
    """The command line, a policy or a setting is wrong; nothing was started."""
    ABORTED = 3
    """The policy stopped the agent."""
    BROKEN = 4
    """The infrastructure failed: the model's service, the CLI, the store."""
    INTERRUPTED = 130
    """Ctrl-C."""


_OF_STATE = {
    SessionState.REACHED: Exit.REACHED,
    SessionState.GAVE_UP: Exit.GAVE_UP,
    SessionState.ABORTED: Exit.ABORTED,
    SessionState.BROKEN: Exit.BROKEN,
    SessionState.CLOSED: Exit.BROKEN,
    SessionState.RUNNING: Exit.BROKEN,
}


def exit_of(state: SessionState) -> Exit:
    """The exit code of a session's end."""
    return _OF_STATE[state]
