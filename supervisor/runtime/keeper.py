"""Agents that die with their worker, and agents that are stopped for good.

The SDK's child is an ordinary process: a worker that is killed leaves it running, and it
executes the rest of its turn. `kept` puts a keeper (see `keeper_process`) between the two,
by way of the one thing the SDK lets a caller choose, the path of the CLI. That path leads
to a small script, written for this process into a folder of its own. Which worker to
watch and which CLI to run stand in the script, so the agent's environment is untouched.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import hashlib
import importlib.resources
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import platformdirs
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, CLINotFoundError

from supervisor.errors import SupervisorError
from supervisor.runtime.keeper_process import OURS_ALONE, below, birth, kill_below, processes, send

__all__ = ["agent_process", "disconnected", "kept", "kill_tree"]

log = logging.getLogger(__name__)

KILL_GRACE_SECONDS = 2.0
"""What an agent that is to be stopped may take to end by itself. Healthy ones take 0.03 s
to 0.2 s (measured, Claude Code 2.1.330); one that hangs never ends."""
_KILLED_WITHIN_SECONDS = 5.0
_LOOK_SECONDS = 0.02

_LONGEST_SHEBANG = 127
"""What Linux before 5.1 read of a script's first line; later ones and macOS read more."""


def kept(options: ClaudeAgentOptions) -> ClaudeAgentOptions:
    """The same options, under which the agent dies with this process.

    However this process ends, SIGKILL included, the agent and everything it started are
    gone within a second; and when the agent ends, so does what it left behind. What is
    Lucid's alone in this process's environment does not get into the agent's.

    Where an agent cannot be kept, the options come back as they were but for that, and a
    warning says why, once. They come back without a CLI that could be run, too: the SDK says
    it best. Cheap, so ask anew for every client: the script may have been cleaned up as an
    old temporary file.
    """
    try:
        cli = _cli_of(options)
        if cli is None or Path(cli).parent == _folders.get(os.getpid()):
            return options
        _check_platform(options.user)
        launcher = _launcher(cli, os.getpid())
    except (SupervisorError, OSError) as error:
        _warn(str(error))
        return _without_ours(options)
    return replace(options, cli_path=launcher)


def _without_ours(options: ClaudeAgentOptions) -> ClaudeAgentOptions:
    """Variables that the SDK passes on cannot be taken away without a keeper, but emptied."""
    given = {**os.environ, **options.env}
    ours = [name for name in map(os.fsdecode, OURS_ALONE) if name in given]
    return replace(options, env={**options.env, **dict.fromkeys(ours, "")}) if ours else options


def agent_process(client: ClaudeSDKClient) -> int | None:
    """The pid of the process the SDK started for this client: the keeper of a kept agent,
    else the CLI. None where there is none, or it is behind a transport of the caller's."""
    process = getattr(getattr(client, "_transport", None), "_process", None)
    if process is None or process.returncode is not None:
        return None
    return int(process.pid)


async def disconnected(client: ClaudeSDKClient) -> None:
    """Disconnect a client, and close the pipe that the SDK leaves open where its process was
    killed before all that it wrote was read."""
    process = getattr(getattr(client, "_transport", None), "_process", None)
    pipes = getattr(getattr(process, "_process", None), "_transport", None)
    await client.disconnect()
    if pipes is not None:
        pipes.close()


async def kill_tree(pid: int, *, grace: float = KILL_GRACE_SECONDS) -> None:
    """Stop a process and everything below it: SIGTERM, then after `grace` seconds SIGKILL.

    Nothing of it is left when this returns. For a process that is not kept, that holds
    for what was below it at the time of the call. Does nothing if the process is gone, and
    raises `SupervisorError` where something cannot be killed.
    """
    tree = await asyncio.to_thread(_tree, pid)
    if pid not in tree:
        return
    send(pid, signal.SIGTERM)
    if left := await _left(tree, grace):
        killed = await asyncio.to_thread(_kill, left)
        if left := await _left(killed, _KILLED_WITHIN_SECONDS):
            raise SupervisorError(
                f"these processes of the agent cannot be killed: {left}. They are another "
                "user's, or wait for a device: look at them with ps, and end them by hand."
            )


async def _left(tree: dict[int, str], seconds: float) -> list[int]:
    """Those that are still alive when the time is up, or none as soon as none is."""
    until = time.monotonic() + seconds
    while left := await asyncio.to_thread(_alive, tree):
        if time.monotonic() >= until:
            return left
        await asyncio.sleep(_LOOK_SECONDS)
    return []


def _tree(root: int) -> dict[int, str]:
    """A process and all below it, each with its birth; without those that are dead."""
    return _births([root, *below(root)])


def _alive(tree: dict[int, str]) -> list[int]:
    return [pid for pid, born in _births(list(tree)).items() if tree[pid] == born]


def _kill(roots: list[int]) -> dict[int, str]:
    """Kill these and all below them; returns those that are still dying."""
    for root in roots:
        send(root, signal.SIGSTOP)  # or it would act on the death of what is below it
    killed = roots + kill_below(*roots)
    for root in roots:
        send(root, signal.SIGKILL)
    return _births(killed)


def _births(pids: list[int]) -> dict[int, str]:
    born = {pid: born for pid, _, born in processes()}
    return {pid: born[pid] for pid in pids if pid in born}


# Whether an agent can be kept.


def _cli_of(options: ClaudeAgentOptions) -> str | None:
    """The CLI that the SDK would run, None if it cannot be run."""
    if options.cli_path is None:
        return _found_by_the_sdk(options)
    cli = str(options.cli_path)
    if os.sep in cli:
        runs = os.access(Path(options.cwd or ".", cli), os.X_OK)
    else:
        runs = shutil.which(cli, path=options.env.get("PATH")) is not None
    return cli if runs else None


def _found_by_the_sdk(options: ClaudeAgentOptions) -> str | None:
    try:
        from claude_agent_sdk._internal.transport.subprocess_cli import SubprocessCLITransport

        return SubprocessCLITransport("", options)._find_cli()
    except CLINotFoundError:
        return None
    except (ImportError, AttributeError) as error:  # not public: a later SDK may have moved it
        raise SupervisorError(f"this SDK does not tell its CLI's path ({error})") from error


def _check_platform(user: str | None) -> None:
    if os.name != "posix":
        raise SupervisorError(f"{sys.platform} has no process tree to keep")
    python = _python()
    if not python.name.startswith(("python", "pypy")) or getattr(sys, "frozen", False):
        raise SupervisorError(f"{python} is no Python interpreter that could run a keeper")
    if user is not None and not _open_to_all(python):
        raise SupervisorError(f"user {user!r} may not run {python}")


def _python() -> Path:
    """The interpreter itself: a virtual environment is more than a keeper needs."""
    base: str = getattr(sys, "_base_executable", "") or sys.executable
    return Path(base).resolve()


def _open_to_all(file: Path) -> bool:
    return all(each.stat().st_mode & 0o001 for each in (file, *file.parents))


@functools.cache
def _warn(reason: str) -> None:
    log.warning("agents are not kept, and would outlive a killed worker: %s", reason)


# The script.

_folders: dict[int, Path] = {}
"""Where a process, by its pid, has its scripts: a fork makes a folder of its own."""


def _launcher(cli: str, worker: int) -> Path:
    """The script that runs `cli` for this worker, written if it is not there."""
    folder = _folders.get(worker)
    if folder is None or not folder.is_dir():
        folder = _folders[worker] = _made_folder()
        atexit.register(_remove, worker, folder)
    script = folder / f"agent-{hashlib.sha256(os.fsencode(cli)).hexdigest()[:12]}"
    if not script.exists():
        draft = script.with_suffix(f".{threading.get_ident()}")  # others may run it meanwhile
        draft.write_text(_script(cli, worker, folder), encoding="utf-8")
        draft.chmod(0o755)
        draft.replace(script)
    return script


def _script(cli: str, worker: int, folder: Path) -> str:
    source = importlib.resources.files("supervisor.runtime").joinpath("keeper_process.py")
    born = birth(worker) if sys.platform == "linux" else None
    call = f"keep({cli!a}, {worker}, {born!a}, {str(folder)!a})"
    return f"{_shebang(folder)}\n{source.read_text(encoding='utf-8')}\n\n{call}\n"


def _shebang(folder: Path) -> str:
    return f"#!{folder}/bin/python -IS"


def _made_folder() -> Path:
    """A new folder that scripts can be run from, for this user alone to write to."""
    problems = []
    for parent in (Path(tempfile.gettempdir()), platformdirs.user_cache_path("lucid", False)):
        try:
            parent.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="lucid-", dir=parent))
        except OSError as error:
            problems.append(f"{parent}: {error.strerror}")
            continue
        if problem := _unfit(folder):
            problems.append(f"{parent}: {problem}")
            folder.rmdir()
            continue
        _furnish(folder)
        return folder
    raise SupervisorError(
        f"no folder to run a script from ({'; '.join(problems)}): set TMPDIR to another one"
    )


def _unfit(folder: Path) -> str | None:
    if os.statvfs(folder).f_flag & getattr(os, "ST_NOEXEC", 0):
        return "programs may not be run there"
    shebang = os.fsencode(_shebang(folder))
    if len(shebang) > _LONGEST_SHEBANG or len(shebang.split()) > 2:
        return "its name is too long or has a space in it"
    return None


def _furnish(folder: Path) -> None:
    # Not in the folder itself: Python reads a pyvenv.cfg in the folder above, and that
    # one is anybody's. A link, since the interpreter's own path may be long, too.
    (folder / "bin").mkdir()
    (folder / "bin" / "python").symlink_to(_python())
    for each in (folder, folder / "bin"):
        each.chmod(0o711)  # for an agent that runs as another user


def _remove(worker: int, folder: Path) -> None:
    if os.getpid() == worker:  # and not a fork of it
        shutil.rmtree(folder, ignore_errors=True)
