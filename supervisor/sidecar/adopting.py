"""Adopting: an agent that nobody supervises from within is stopped, so that its session can
go on under the runner.

Which process it is, the CLI says itself: it keeps a file for each of its processes, with the
session and the process's start in it (`sessions/PID.json` in its configuration folder, CLI
2.1.330). An agent can write files, so the file alone is not believed.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec
from claude_agent_sdk import PermissionMode

from supervisor.core.entry import SYNTHETIC_MODEL
from supervisor.errors import SupervisorError
from supervisor.runtime.keeper import kill_tree
from supervisor.runtime.keeper_process import below, birth, kill_below, send
from supervisor.runtime.submission import Submission
from supervisor.store.interface import SessionRow, Store

__all__ = ["BareAgent", "bare_agent", "how_it_ran", "stop_agent"]

GRACE_SECONDS = 5.0
"""What an agent that rests may take to end."""

_LARGEST = 64 * 1024
_MODES = frozenset(get_args(PermissionMode)) - {"bypassPermissions"}
"""What is taken over unasked. A transcript is a file that its agent can write: it must not be
able to give itself leave for everything."""


class BareAgent(msgspec.Struct, frozen=True):
    """The process of an agent that is not ours."""

    pid: int
    born: str
    """Tells it from another process that has its pid later."""
    command: str
    busy: bool
    """In the midst of a turn, as far as it says."""


class _Said(msgspec.Struct, rename="camel"):
    """What the CLI says of one of its processes."""

    pid: int
    session_id: str
    proc_start: str | int
    pid_domain: str = ""
    status: str = ""


def bare_agent(session: SessionRow, config: Path) -> BareAgent | None:
    """The process that runs a session on this host, by what stands in the CLI's configuration
    folder; None where there is none. Raises `SupervisorError` where it may not be stopped."""
    transcript = session.head or session.session_id
    for said in _all_said(config):
        if said.session_id == transcript and (agent := _checked(said)) is not None:
            return agent
    return None


def _all_said(config: Path) -> Iterator[_Said]:
    for file in sorted((config / "sessions").glob("*.json")):
        try:
            with file.open("rb") as source:
                said = msgspec.json.decode(source.read(_LARGEST), type=_Said)
        except (OSError, msgspec.MsgspecError, ValueError, RecursionError):
            continue  # of another version, or being written: not one to go by
        if file.stem == str(said.pid):
            yield said


def _checked(said: _Said) -> BareAgent | None:
    """The process that is meant, if it is alive, and surely that one."""
    if sys.platform != "linux":
        raise SupervisorError(
            f"process {said.pid} seems to be the agent, which can be told for sure on Linux "
            "only: end it by hand, then adopt the session with --gone"
        )
    if not said.pid_domain.endswith(os.readlink("/proc/self/ns/pid")):
        return None  # its pid is another container's
    born = birth(said.pid)
    if born is None or born != str(said.proc_start):
        return None
    proc = Path("/proc") / str(said.pid)
    try:
        owner, command = proc.stat().st_uid, (proc / "cmdline").read_bytes()
    except OSError:
        return None
    if owner != os.getuid():
        raise SupervisorError(f"process {said.pid} runs the session, and is another user's")
    words = command.decode(errors="replace").split("\0")
    if not any("claude" in word for word in words[:2]):
        raise SupervisorError(
            f"process {said.pid} is said to run the session, and does not look like Claude "
            f"Code ({words[0]}): it is left alone"
        )
    if os.getpid() in below(said.pid):
        raise SupervisorError("this command runs inside that agent: give it from elsewhere")
    return BareAgent(said.pid, born, " ".join(words).strip(), said.status == "busy")


async def stop_agent(agent: BareAgent) -> None:
    """End it and all that it started. One that rests is told to by SIGTERM. One that is at
    work is killed: told to end, it would write down the call that it is in as if that had
    failed by itself ("Exit code 137"), and nobody would know that it was cut off.

    Raises `SupervisorError` where something of it cannot be ended.
    """
    if birth(agent.pid) != agent.born:
        return
    if agent.busy:
        send(agent.pid, signal.SIGSTOP)  # or it would act on the death of what is below it
        kill_below(agent.pid)
        send(agent.pid, signal.SIGKILL)
    await kill_tree(agent.pid, grace=GRACE_SECONDS)


class _Message(msgspec.Struct):
    model: str | None = None


class _Line(msgspec.Struct, rename="camel"):
    type: str = ""
    permission_mode: str | None = None
    message: _Message | None = None


async def how_it_ran(store: Store, session: SessionRow) -> Submission:
    """What the session's transcript says of how its agent was run: its model, and what it
    might do unasked, unless that was everything. The rest (tools, MCP servers, prompts) is
    not in it."""
    decoder = msgspec.json.Decoder(_Line)
    model = mode = None
    async for stored in store.entries(session.session_id):
        if stored.subpath:
            continue
        try:
            line = decoder.decode(stored.raw)
        except (msgspec.MsgspecError, ValueError, RecursionError):
            continue
        if line.permission_mode is not None:
            mode = line.permission_mode if line.permission_mode in _MODES else None
        named = line.message.model if line.type == "assistant" and line.message else None
        if named is not None and named != SYNTHETIC_MODEL:
            model = named
    return msgspec.convert({"by": "run", "model": model, "permission_mode": mode}, Submission)
