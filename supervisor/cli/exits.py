"""Exit codes of `lucid`."""

from __future__ import annotations

from enum import IntEnum

from supervisor.core.session import SessionState

__all__ = ["EXIT_CODES", "MEANINGS", "Exit", "exit_of"]


class Exit(IntEnum):
    """What a process's end says; `MEANINGS` has it in words."""

    REACHED = 0
    GAVE_UP = 1
    USAGE = 2
    ABORTED = 3
    BROKEN = 4
    ELSEWHERE = 5
    PAUSED = 6
    RESUMABLE = 75
    INTERRUPTED = 130
    PIPE_CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    Exit.REACHED: "the objective was reached, as far as Lucid knows",
    Exit.GAVE_UP: "the agent gave up: a limit was hit, or a failure stayed unresolved",
    Exit.USAGE: "the command line, the policy or a setting is wrong; nothing was started",
    Exit.ABORTED: "the policy stopped the agent",
    Exit.BROKEN: "the infrastructure failed: the model's service, the CLI, the store",
    Exit.ELSEWHERE: "another worker has the session",
    Exit.PAUSED: "the session waits for a person: 'lucid approve' or 'lucid reject'",
    Exit.RESUMABLE: "told to stop by SIGTERM; 'lucid resume' goes on, here or elsewhere",
    Exit.INTERRUPTED: "interrupted by Ctrl-C (141: its output's reader left, 143: SIGTERM)",
}
"""Of `lucid run` and `lucid resume`, for their help and the README. Other commands end
with 0 where all is well, with 1 where they found something, and with the rest as they do."""

EXIT_CODES = "\b\nExit codes:\n" + "\n".join(
    f"  {code:<4} {meaning}" for code, meaning in MEANINGS.items()
)
"""For a command's help, as click sets it."""

_OF_STATE = {
    SessionState.RUNNING: Exit.RESUMABLE,
    SessionState.REACHED: Exit.REACHED,
    SessionState.GAVE_UP: Exit.GAVE_UP,
    SessionState.ABORTED: Exit.ABORTED,
    SessionState.PAUSED: Exit.PAUSED,
}


def exit_of(state: SessionState) -> Exit:
    """The exit code for where a session was left; what is no end is broken off, but for a
    session that was drained: it is running still, and no worker has it."""
    return _OF_STATE.get(state, Exit.BROKEN)
