"""Exit codes of `lucid`."""

from __future__ import annotations

from enum import IntEnum

from supervisor.core.session import SessionState

__all__ = ["MEANINGS", "Exit", "exit_of"]


class Exit(IntEnum):
    """What a process's end says; `MEANINGS` has it in words."""

    REACHED = 0
    GAVE_UP = 1
    USAGE = 2
    ABORTED = 3
    BROKEN = 4
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    Exit.REACHED: "the objective was reached, as far as Lucid knows",
    Exit.GAVE_UP: "the agent gave up: a limit was hit, or a failure stayed unresolved",
    Exit.USAGE: "the command line, the policy or a setting is wrong; nothing was started",
    Exit.ABORTED: "the policy stopped the agent",
    Exit.BROKEN: "the infrastructure failed: the model's service, the CLI, the store",
    Exit.INTERRUPTED: "interrupted by Ctrl-C (141: its output's reader left, 143: SIGTERM)",
}
"""Of `lucid run`, for its help and the README. Other commands end with 0 where all is
well, with 1 where they found something, and with the rest as it does."""


_OF_STATE = {
    SessionState.REACHED: Exit.REACHED,
    SessionState.GAVE_UP: Exit.GAVE_UP,
    SessionState.ABORTED: Exit.ABORTED,
}


def exit_of(state: SessionState) -> Exit:
    """The exit code for where a session was left; all that is no end is broken off."""
    return _OF_STATE.get(state, Exit.BROKEN)
