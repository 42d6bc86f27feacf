"""The keeper: the small process between a worker and its agent's CLI.

It starts the CLI on its own stdio, passes signals on, and ends as the CLI ends. When the
worker is gone, however it went, it kills the CLI and everything below it. Its own end
means that nothing of the agent is left.

`supervisor.runtime.keeper` writes this file out as a script. So it knows nothing of Lucid
but itself, and imports little: what it takes to start is added to every agent's start.

On Linux every process that the agent starts stays below the keeper, in whatever session
or process group, because the keeper adopts orphans. Elsewhere a process whose parent has
ended is out of reach, and the worker's death is noticed within `POLL_SECONDS`.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

TYPE_CHECKING = False  # without importing typing
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import NoReturn

__all__ = ["OURS_ALONE", "below", "birth", "keep", "kill_below", "processes", "send"]

SHUTDOWN_SECONDS = 4.0
"""What a CLI may take that was told to end by SIGTERM. The SDK kills what it started after
5 s, and would kill the keeper before its work is done."""
LAST_WORDS_SECONDS = 0.5
"""What is left of that once the worker is gone, as where the SDK's exit handler sent the
SIGTERM. A CLI that was not told to end is killed at once: it would go on working."""
LEFTOVER_SECONDS = 0.5
"""What processes that a finished CLI left behind have to end, told by SIGTERM."""
STUBBORN_SECONDS = 5.0
"""How long processes are waited for that SIGKILL does not end: those of another user, or
in the midst of a device's work."""
POLL_SECONDS = 0.2
"""How often the worker is looked for where the kernel does not tell of its death."""

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LONGEST_WAIT = 3600.0
OURS_ALONE = (b"LUCID_STORE", b"LUCID_STORE_KEY", b"LUCID_TOKEN")
"""Variables that the agent has no business with: the address of the store may hold its
database's password."""


# The process table.


def processes() -> Iterator[tuple[int, int, str]]:
    """The pid, parent and birth of every live process; zombies are dead."""
    if not os.path.exists("/proc/self/stat"):
        yield from _listed_by_ps()
        return
    for name in os.listdir("/proc"):
        if name.isdecimal() and (found := _stat(name)):
            yield int(name), *found


def birth(pid: int) -> str | None:
    """What tells a live process from a later one with its number; None if it is dead."""
    if not os.path.exists("/proc/self/stat"):
        return next((born for each, _, born in _listed_by_ps() if each == pid), None)
    found = _stat(str(pid))
    return found[1] if found else None


def _stat(pid: str) -> tuple[int, str] | None:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name stands in brackets and may hold anything, brackets too.
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in b"ZX" else (int(fields[1]), fields[19].decode())


def _listed_by_ps() -> Iterator[tuple[int, int, str]]:
    import subprocess

    columns = "pid=,ppid=,stat=,lstart="
    listing = subprocess.run(["ps", "-A", "-o", columns], capture_output=True, check=True)
    for line in listing.stdout.decode(errors="replace").splitlines():
        pid, parent, state, born = line.split(None, 3)
        if not state.startswith("Z"):
            yield int(pid), int(parent), born


def below(*roots: int) -> list[int]:
    """The live processes below `roots`, parents before their children."""
    children: dict[int, list[int]] = {}
    for pid, parent, _ in processes():
        children.setdefault(parent, []).append(pid)
    found = list(roots)
    for pid in found:
        # Taken out, since a table read bit by bit could be a circle.
        found.extend(children.pop(pid, ()))
    return found[len(roots) :]


def kill_below(*roots: int) -> list[int]:
    """Kill every process below `roots`; returns those that were told to die.

    They are all stopped first, parents before children: so none can start another, or
    go on to its next step when the one it waits for is killed.
    """
    stopped: list[int] = []
    while new := [pid for pid in below(*roots) if pid not in stopped]:
        for pid in new:
            send(pid, signal.SIGSTOP)
        stopped += new
    for pid in stopped:
        send(pid, signal.SIGKILL)
    return stopped


def send(pid: int, signum: int) -> None:
    """Send a signal, to nobody if the process is gone or another user's."""
    with suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signum)


# The keeper's own life.


class _Watch:
    """Waits for signals and for the worker's death."""

    def __init__(self, signals: int, worker: int, worker_birth: str | None) -> None:
        self._signals = signals
        self._worker = worker
        self._worker_birth = worker_birth
        self._poll = select.poll()
        self._poll.register(signals, select.POLLIN)
        self._handle = self._worker_handle()
        if self._handle is not None:
            self._poll.register(self._handle, select.POLLIN)
        # Asked only now: a handle on a later process of that number is found out.
        self.worker_gone = not self._worker_lives()

    def _worker_handle(self) -> int | None:
        if sys.platform != "linux" or not hasattr(os, "pidfd_open"):
            return None
        try:
            return os.pidfd_open(self._worker)
        except OSError:
            return None  # dead, or else not supported: an old kernel, a strict sandbox

    def _worker_lives(self) -> bool:
        if self._worker_birth is None:
            return os.getppid() == self._worker
        return birth(self._worker) == self._worker_birth

    def wait(self, until: float) -> bytes:
        """The signals that came, at the latest at `until` or when the worker is gone."""
        seconds = _LONGEST_WAIT if self._handle is not None else POLL_SECONDS
        seconds = min(seconds, max(0.0, until - time.monotonic()))
        came = [fd for fd, _ in self._poll.poll(seconds * 1000)]
        if self._handle is None:
            self.worker_gone = self.worker_gone or not self._worker_lives()
        elif self._handle in came:
            self.worker_gone = True
            self._poll.unregister(self._handle)
            self._handle = None
        # Read in any case: the worker's death alone may have woken the poll, with a SIGTERM
        # that came before it written only as the poll returned.
        with suppress(BlockingIOError):
            return os.read(self._signals, 4096)
        return b""


class _Keeper:
    """Waits for the CLI's end, brings it about if need be, and clears up behind it."""

    def __init__(self, cli: int, watch: _Watch) -> None:
        self.status: int | None = None
        """How the CLI ended, as wait(2) says it."""
        self._cli = cli
        self._watch = watch

    def tend(self) -> None:
        """Return when the CLI has ended, or is to be killed."""
        deadline = float("inf")
        while self._reap() and self.status is None and time.monotonic() < deadline:
            for signum in self._watch.wait(deadline):
                if signum != signal.SIGCHLD:
                    send(self._cli, signum)
                if signum == signal.SIGTERM:
                    deadline = min(deadline, time.monotonic() + SHUTDOWN_SECONDS)
            if self._watch.worker_gone:
                left = LAST_WORDS_SECONDS if deadline < float("inf") else 0.0
                deadline = min(deadline, time.monotonic() + left)

    def clear(self) -> None:
        """Return when nothing is left below the keeper that can be ended."""
        if self.status is not None and not self._watch.worker_gone and self._reap():
            for pid in below(os.getpid()):
                send(pid, signal.SIGTERM)
            self._wait_for_all(LEFTOVER_SECONDS)
        limit = time.monotonic() + STUBBORN_SECONDS
        while self._reap() and time.monotonic() < limit:
            kill_below(os.getpid())
            self._wait_for_all(0.05)
        if left := below(os.getpid()):
            _say(f"these processes of the agent cannot be killed: {left}")

    def _wait_for_all(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while self._reap() and time.monotonic() < until:
            self._watch.wait(until)

    def _reap(self) -> bool:
        """Take note of the dead; returns whether there are children left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._cli:
                self.status = status


def keep(cli: str, worker: int, worker_birth: str | None, folder: str) -> NoReturn:
    """Run `cli` with this process's arguments, for as long as the worker lives.

    `worker_birth` is the worker's `birth`, None where that cannot be read. `folder` is
    where this script is, and is removed when the worker is gone.
    """
    signals, passed_on = _listen()
    watch = _Watch(signals, worker, worker_birth)
    if watch.worker_gone:
        _say("the worker is gone, so no agent is started")
        _remove(folder)
        sys.exit(1)
    _stand_alone()
    keeper = _Keeper(_start(cli, passed_on), watch)
    try:
        _let_go_of_the_stdio()
        keeper.tend()
    finally:
        keeper.clear()
    if watch.worker_gone:
        _remove(folder)
    _end_as(keeper.status)


def _listen() -> tuple[int, list[int]]:
    """Take note of signals instead of dying of them; returns where they can be read, and
    which are to be passed on: not those that the worker has its children ignore."""
    signals, wake = os.pipe()
    for end in (signals, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    asked = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT)
    passed_on = [int(each) for each in asked if signal.getsignal(each) != signal.SIG_IGN]
    for signum in (*passed_on, signal.SIGCHLD):
        signal.signal(signum, lambda _signum, _frame: None)
    return signals, passed_on


def _stand_alone() -> None:
    """Be out of reach of what is meant for the worker, and the parent of all orphans."""
    with suppress(PermissionError):  # leads a process group already
        os.setsid()  # a terminal's Ctrl-C, or a kill of the worker's process group
    if sys.platform != "linux":
        return
    try:
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        with open("/proc/self/comm", "w") as name:
            name.write("lucid-keeper")  # an agent's `pkill python` passes it by
    except (ImportError, OSError) as error:
        _say(f"processes that the agent detaches may outlive it: {error}")


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, *map(ctypes.c_ulong, (value, 0, 0, 0))):
        raise OSError(ctypes.get_errno(), "prctl")


def _start(cli: str, passed_on: list[int]) -> int:
    # Held back until the CLI is there: none is lost, or taken for the keeper's.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, passed_on)
    keeper, pid = os.getpid(), os.fork()
    if pid == 0:
        try:
            _become(cli, passed_on, before, keeper)
        except OSError as error:
            _say(f"{cli} cannot be run: {error.strerror}")
        finally:
            os._exit(127)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _become(cli: str, passed_on: list[int], mask: set[int | signal.Signals], keeper: int) -> None:
    signal.set_wakeup_fd(-1)
    ignored_by_python = (signal.SIGPIPE, signal.SIGXFSZ)
    for signum in (*passed_on, signal.SIGCHLD, *ignored_by_python):
        signal.signal(signum, signal.SIG_DFL)
    if sys.platform == "linux":
        with suppress(ImportError, OSError):  # said already
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)  # should the keeper be killed
        if os.getppid() != keeper:
            os._exit(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.execvpe(cli, [cli, *sys.argv[1:]], _environment())


def _environment() -> dict[bytes, bytes]:
    """The environment as it was given, but for what is Lucid's alone: where no locale is
    set, Python adds one."""
    try:
        with open("/proc/self/environ", "rb") as file:
            given = file.read().split(b"\0")
    except OSError:
        given = [b"%s=%s" % pair for pair in os.environb.items()]
    pairs = (variable.partition(b"=") for variable in given)
    ours = {*OURS_ALONE, b""}  # an empty name is none
    return {name: value for name, is_one, value in pairs if is_one and name not in ours}


def _let_go_of_the_stdio() -> None:
    """Hold no end of the pipes between worker and CLI, so that both see them close."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.close(null)


def _remove(folder: str) -> None:
    import shutil

    shutil.rmtree(folder, ignore_errors=True)  # other keepers of this worker do it too


def _end_as(status: int | None) -> NoReturn:
    code = os.waitstatus_to_exitcode(status) if status is not None else 1
    if code < 0:
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the CLI's own core is enough
        if -code != signal.SIGKILL:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code if code >= 0 else 128 - code)


def _say(message: str) -> None:
    sys.stderr.write(f"lucid keeper: {message}\n")
    sys.stderr.flush()
