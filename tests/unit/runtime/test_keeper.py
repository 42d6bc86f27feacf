"""The keeper: the agent's process passes for the CLI itself, and dies with its worker."""

from __future__ import annotations

import json
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient

from supervisor.runtime import keeper, keeper_process
from supervisor.runtime.keeper import agent_process, kept, kill_tree

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="looks at processes through Linux's /proc"
)

Kept = Callable[..., list[str]]

WORKER = """
import json, subprocess, sys
agent = subprocess.Popen(json.loads(sys.stdin.readline()), stdin=subprocess.PIPE)
print(agent.pid, flush=True)
agent.wait()
"""

# One process in the CLI's group, one in a session of its own, one that was orphaned in a
# session of its own, one that is out of that orphan's; none of them heeds SIGTERM.
FAMILY = """
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    if os.fork():
        if os.fork() == 0:
            os.setsid()
            if os.fork():
                os._exit(0)
            if os.fork() == 0:
                os.setsid()
    else:
        os.setsid()
time.sleep(60)
"""
FAMILY_SIZE = 5

# Starts a process in a session of its own all the time.
STORM = """
import os, time
while True:
    if os.fork() == 0:
        os.setsid()
        time.sleep(60)
    time.sleep(0.001)
"""


def program(text: str) -> list[str]:
    """Arguments that make Python, in the part of the CLI, run `text`."""
    return ["-ISc", text]


def until(condition: Callable[[], object], within: float = 5.0) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not so within {within} s"
        time.sleep(0.005)


class Worker:
    """A process that starts one agent; all that is below it bears its mark."""

    def __init__(self, **changes: bool) -> None:
        self.mark = f"LUCID_TEST_MARK={uuid4()}".encode()
        name, _, value = self.mark.decode().partition("=")
        self.process = subprocess.Popen(
            [sys.executable, *program(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {name: value},
            **changes,
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self, command: list[str]) -> int:
        """Start the agent; returns its process's pid."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def marked(self) -> list[int]:
        """The live processes that bear the mark, but for the worker."""
        return [
            pid
            for pid, _, _ in keeper_process.processes()
            if pid != self.pid and self.mark in environment(pid)
        ]


def environment(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


@pytest.fixture
def worker() -> Iterator[Worker]:
    worker = Worker()
    with worker.process:
        yield worker
        worker.process.kill()
    for pid in worker.marked():
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def kept_python(tmp_path: Path) -> Iterator[Kept]:
    """Builds the command that runs Python as the CLI of a worker; `edited` changes the
    keeper's constants, or the world it finds itself in."""
    folders = []

    def build(arguments: list[str], worker: int | None = None, *, edited: str = "") -> list[str]:
        script = keeper._launcher(sys.executable, worker or os.getpid())
        folders.append(script.parent)
        if edited:
            text = script.read_text().replace("\nkeep(", f"\n{edited}\nkeep(")
            script = tmp_path / "edited"
            script.write_text(text)
            script.chmod(0o700)
        return [str(script), *arguments]

    yield build
    for folder in folders:
        keeper._remove(os.getpid(), folder)


# It passes for the CLI.


def test_stdio_is_passed_on_to_the_byte(kept_python: Kept) -> None:
    given = random.Random(1).randbytes(300_000)
    echo = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read()); sys.stderr.write('+')"
    done = subprocess.run(kept_python(program(echo)), input=given, capture_output=True, check=True)

    assert done.stdout == given
    assert done.stderr == b"+"


def test_arguments_are_passed_on_to_the_byte(kept_python: Kept) -> None:
    given = [b"", b"two words", b"line\nbreak", "ünï".encode(), b"no \xff utf-8", b"x" * 100_000]
    show = "import os, sys; print([os.fsencode(each) for each in sys.argv[1:]])"
    command = [os.fsencode(each) for each in kept_python(program(show))]
    done = subprocess.run([*command, *given], capture_output=True, check=True, text=True)

    assert done.stdout == f"{given}\n"


@pytest.mark.parametrize(
    "environ", [{}, {"LC_ALL": "C"}, {"LANG": "en_GB", "PYTHONPATH": "x", "EMPTY": "", "ö": "ü"}]
)
def test_the_environment_is_what_the_sdk_gave(environ: dict[str, str], kept_python: Kept) -> None:
    show = program("print(open('/proc/self/environ', 'rb').read().split(b'\\0'))")
    kept = subprocess.run(kept_python(show), env=environ, capture_output=True, check=True)
    bare = subprocess.run([sys.executable, *show], env=environ, capture_output=True, check=True)

    assert kept.stdout == bare.stdout


def test_no_descriptor_or_disposition_of_signals_is_added(kept_python: Kept) -> None:
    show = program(
        "import os\n"
        "status = open('/proc/self/status').read().splitlines()\n"
        "print([line for line in status if line.startswith(('SigBlk', 'SigIgn', 'SigCgt'))])\n"
        "print(sorted(os.listdir('/proc/self/fd')), os.getcwd(), os.umask(0))\n"
    )
    kept = subprocess.run(kept_python(show), capture_output=True, check=True)
    bare = subprocess.run([sys.executable, *show], capture_output=True, check=True)

    assert kept.stdout == bare.stdout


@pytest.mark.parametrize("code", [0, 1, 255])
def test_it_ends_with_the_clis_exit_code(code: int, kept_python: Kept) -> None:
    assert subprocess.run(kept_python(program(f"raise SystemExit({code})"))).returncode == code


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_it_ends_by_the_signal_that_ended_the_cli(number: int, kept_python: Kept) -> None:
    suicide = f"import os; os.kill(os.getpid(), {number})"
    assert subprocess.run(kept_python(program(suicide))).returncode == -number


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_are_passed_on(number: int, kept_python: Kept) -> None:
    handles = (
        "import os, signal\n"
        f"signal.signal({number}, lambda *_: os._exit(7))\n"
        "print('ready', flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen(kept_python(program(handles)), stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.send_signal(number)

    assert process.returncode == 7


def test_a_signal_that_comes_before_the_cli_is_not_lost(kept_python: Kept) -> None:
    early = "start = _start; _start = lambda *given: os.kill(os.getpid(), 15) or start(*given)"
    command = kept_python(program("import time; time.sleep(60)"), edited=early)

    assert subprocess.run(command, timeout=5).returncode == -signal.SIGTERM


def test_the_worker_sees_the_cli_close_its_end(kept_python: Kept) -> None:
    closes = "import os, time; os.close(0); os.close(1); time.sleep(60)"
    with subprocess.Popen(
        kept_python(program(closes)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.read() == b""
        with pytest.raises(BrokenPipeError):
            os.write(process.stdin.fileno(), b"x")
        process.terminate()


def test_what_the_agent_detached_is_reaped_when_it_ends(kept_python: Kept) -> None:
    detaches = (
        "import os\n"
        "read, write = os.pipe()\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    if (pid := os.fork()):\n"
        "        os.write(write, str(pid).encode())\n"
        "    os._exit(0)\n"
        "orphan = int(os.read(read, 9))\n"
        "while True:\n"
        "    os.kill(orphan, 0)\n"
    )
    done = subprocess.run(kept_python(program(detaches)), stderr=subprocess.PIPE, timeout=5)

    assert b"ProcessLookupError" in done.stderr


# It dies with its worker.


def test_a_killed_worker_takes_everything_with_it(worker: Worker, kept_python: Kept) -> None:
    command = kept_python(program(FAMILY), worker.pid)
    worker.start(command)
    until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

    worker.kill()

    until(lambda: not worker.marked(), within=1.0)
    assert not Path(command[0]).parent.exists(), "the script's folder is left behind"


def test_an_old_kernel_does_it_too(worker: Worker, kept_python: Kept) -> None:
    worker.start(kept_python(program(FAMILY), worker.pid, edited="del os.pidfd_open"))
    until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

    worker.kill()

    until(lambda: not worker.marked(), within=1.0)


def test_so_does_a_kernel_that_tells_nothing_of_other_processes(
    worker: Worker, kept_python: Kept
) -> None:
    hidden = (
        "del os.pidfd_open\n"
        "told = keep\n"
        "keep = lambda cli, worker, birth, folder: told(cli, worker, None, folder)\n"
    )
    worker.start(kept_python(program(FAMILY), worker.pid, edited=hidden))
    until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

    worker.kill()

    until(lambda: not worker.marked(), within=1.0)


def test_an_agent_that_starts_processes_all_the_time_is_ended_too(
    worker: Worker, kept_python: Kept
) -> None:
    worker.start(kept_python(program(STORM), worker.pid))
    until(lambda: len(worker.marked()) > 50)

    worker.kill()

    until(lambda: not worker.marked(), within=1.0)


def test_a_kill_of_the_workers_process_group_spares_the_keeper_its_work(
    kept_python: Kept,
) -> None:
    worker = Worker(start_new_session=True)
    with worker.process:
        worker.start(kept_python(program(FAMILY), worker.pid))
        until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

        os.killpg(worker.pid, signal.SIGKILL)

        until(lambda: not worker.marked(), within=1.0)


def test_no_agent_is_started_for_a_worker_that_is_gone(kept_python: Kept, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    with Worker().process as worker:
        command = kept_python(program(f"open({str(trace)!r}, 'w')"), worker.pid)
        worker.kill()
    done = subprocess.run(command, capture_output=True)

    assert done.returncode == 1
    assert b"the worker is gone" in done.stderr
    assert not trace.exists()
    assert not Path(command[0]).parent.exists()


def test_a_later_process_of_the_workers_number_is_not_the_worker(kept_python: Kept) -> None:
    command = kept_python(program("pass"), edited="birth = lambda _: 'another'")
    assert subprocess.run(command, capture_output=True).returncode == 1


def test_a_cli_that_was_told_to_end_gets_to_its_last_words(
    worker: Worker, kept_python: Kept, tmp_path: Path
) -> None:
    words = tmp_path / "words"
    slow = (
        "import signal, time\n"
        "def end(*_):\n"
        "    time.sleep(0.1)\n"
        f"    open({str(words)!r}, 'w')\n"
        "    raise SystemExit\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "time.sleep(60)\n"
    )
    process = worker.start(kept_python(program(slow), worker.pid))
    until(lambda: b"SigCgt:\t0000000000004" in status(cli_of(process)))

    os.kill(process, signal.SIGTERM)
    worker.kill()

    until(lambda: not worker.marked())
    assert words.exists()


def test_a_signal_that_came_before_the_workers_death_is_seen_with_it(worker: Worker) -> None:
    """Where both come before the keeper is run again, the poll tells of the death alone."""
    signals, wake = os.pipe()
    os.set_blocking(signals, False)
    watch = keeper_process._Watch(signals, worker.pid, keeper_process.birth(worker.pid))
    watch._poll.unregister(signals)
    os.write(wake, bytes([signal.SIGTERM]))

    worker.kill()

    assert watch.wait(float("inf")) == bytes([signal.SIGTERM])
    assert watch.worker_gone
    assert watch.wait(0.0) == b""
    os.close(signals)
    os.close(wake)


def status(pid: int) -> bytes:
    return Path(f"/proc/{pid}/status").read_bytes()


def cli_of(process: int) -> int:
    until(lambda: keeper_process.below(process))
    return keeper_process.below(process)[0]


# It ends what the agent leaves, and what does not end.


def test_what_a_finished_cli_leaves_behind_is_ended(worker: Worker, kept_python: Kept) -> None:
    leaves = FAMILY.replace("time.sleep(60)", "parent != os.getpid() and time.sleep(60)")
    worker.start(kept_python(program(f"import os\nparent = os.getpid()\n{leaves}"), worker.pid))

    assert worker.process.wait(timeout=5) == 0
    assert worker.marked() == []


def test_and_may_end_by_itself_first(kept_python: Kept) -> None:
    server = (
        "import os, signal, sys\n"
        "if os.fork() == 0:\n"
        "    signal.signal(signal.SIGTERM, lambda *_: (print('saved', flush=True), os._exit(0)))\n"
        "    print('serves', flush=True)\n"
        "    signal.pause()\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        kept_python(program(server)), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"serves\n"
        process.stdin.close()
        assert process.stdout.read() == b"saved\n"


def test_a_cli_that_does_not_heed_sigterm_is_killed_in_time(
    worker: Worker, kept_python: Kept
) -> None:
    command = kept_python(program(FAMILY), worker.pid, edited="SHUTDOWN_SECONDS = 0.1")
    process = worker.start(command)
    until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

    os.kill(process, signal.SIGTERM)

    assert worker.process.wait(timeout=1) == 0
    assert worker.marked() == []


def test_the_sdk_would_kill_the_keeper_only_later() -> None:
    assert keeper_process.SHUTDOWN_SECONDS < 5.0, "SubprocessCLITransport.close waits 5 s"


def test_a_killed_keeper_takes_the_cli_with_it(worker: Worker, kept_python: Kept) -> None:
    process = worker.start(kept_python(program("import time; time.sleep(60)"), worker.pid))
    cli_of(process)

    os.kill(process, signal.SIGKILL)

    until(lambda: not worker.marked(), within=1.0)


# kill_tree


@pytest.mark.anyio
async def test_kill_tree_ends_a_kept_agent_that_heeds_nothing(
    worker: Worker, kept_python: Kept
) -> None:
    process = worker.start(kept_python(program(FAMILY), worker.pid))
    until(lambda: len(worker.marked()) == FAMILY_SIZE + 1)

    await kill_tree(process, grace=0.1)

    assert worker.marked() == []


@pytest.mark.anyio
async def test_kill_tree_ends_what_hangs_below_a_process_that_is_not_kept(
    worker: Worker,
) -> None:
    process = worker.start([sys.executable, *program(FAMILY)])
    until(lambda: len(worker.marked()) == FAMILY_SIZE)
    reachable = {process, *keeper_process.below(process)}

    await kill_tree(process, grace=0.1)

    assert len(reachable) >= 3
    assert reachable.isdisjoint(worker.marked())


@pytest.mark.anyio
async def test_kill_tree_does_not_wait_for_what_ends_by_itself(
    worker: Worker, kept_python: Kept
) -> None:
    process = worker.start(kept_python(program("import time; time.sleep(60)"), worker.pid))
    cli_of(process)
    started = time.monotonic()

    await kill_tree(process, grace=30)

    assert time.monotonic() - started < 1
    assert worker.marked() == []


@pytest.mark.anyio
async def test_kill_tree_of_a_process_that_is_gone_does_nothing() -> None:
    with Worker().process as process:
        process.kill()
    await kill_tree(process.pid)


# kept


def test_kept_changes_the_clis_path_alone() -> None:
    options = ClaudeAgentOptions(cli_path=sys.executable, env={"A": "b"}, max_turns=3)
    kept_options = kept(options)

    assert kept_options.cli_path != sys.executable
    assert vars(kept_options) == vars(options) | {"cli_path": kept_options.cli_path}
    assert vars(kept(kept_options)) == vars(kept_options)
    assert kept(options).cli_path == kept_options.cli_path


def test_each_cli_has_a_script_of_its_own(tmp_path: Path) -> None:
    other = tmp_path / 'it\'s a "CLI" ünï'
    other.symlink_to("/bin/echo")
    scripts = [kept(ClaudeAgentOptions(cli_path=cli)).cli_path for cli in (sys.executable, other)]

    assert len(set(scripts)) == 2
    assert subprocess.check_output([str(scripts[1]), "hello"]) == b"hello\n"


def test_the_bundled_cli_is_found() -> None:
    done = subprocess.check_output([str(kept(ClaudeAgentOptions()).cli_path), "--version"])
    assert b"Claude Code" in done


def test_a_relative_cli_is_relative_to_the_agents_folder(tmp_path: Path) -> None:
    (tmp_path / "cli").symlink_to("/bin/pwd")
    script = kept(ClaudeAgentOptions(cli_path="./cli", cwd=tmp_path)).cli_path

    assert subprocess.check_output([str(script), "-P"], cwd=tmp_path) == f"{tmp_path}\n".encode()


def test_a_bare_name_is_looked_up_on_the_agents_path(tmp_path: Path) -> None:
    (tmp_path / "some-cli").symlink_to("/bin/echo")
    env = {"PATH": str(tmp_path)}
    script = kept(ClaudeAgentOptions(cli_path="some-cli", env=env)).cli_path

    assert subprocess.check_output([str(script), "found"], env=env) == b"found\n"


@pytest.mark.parametrize("cli", ["/nowhere/claude", "no-such-cli", __file__])
def test_a_cli_that_cannot_be_run_is_left_to_the_sdk(cli: str) -> None:
    options = ClaudeAgentOptions(cli_path=cli)
    assert kept(options) is options


def test_a_script_that_was_cleaned_away_is_written_again() -> None:
    options = ClaudeAgentOptions(cli_path="/bin/echo")
    keeper._remove(os.getpid(), Path(str(kept(options).cli_path)).parent)

    assert subprocess.check_output([str(kept(options).cli_path), "again"]) == b"again\n"


@pytest.fixture
def _anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As in a process that has kept no agent yet."""
    monkeypatch.setattr(keeper, "_folders", {})
    keeper._warn.cache_clear()
    yield
    keeper._warn.cache_clear()


@pytest.mark.usefixtures("_anew")
def test_nobody_else_may_write_to_the_scripts_or_list_them() -> None:
    script = Path(str(kept(ClaudeAgentOptions(cli_path=sys.executable)).cli_path))
    modes = {each.name: each.stat().st_mode & 0o777 for each in script.parent.iterdir()}

    assert script.parent.stat().st_mode & 0o777 == 0o711
    assert modes[script.name] == 0o755
    assert modes["bin"] == 0o711


@pytest.mark.usefixtures("_anew")
def test_another_folder_serves_where_the_temporary_one_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unfit = tmp_path / "with a space"
    unfit.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(unfit))
    with tempfile.TemporaryDirectory(dir="/tmp") as cache:
        monkeypatch.setenv("XDG_CACHE_HOME", cache)
        script = kept(ClaudeAgentOptions(cli_path="/bin/echo")).cli_path

        assert Path(str(script)).is_relative_to(cache)
        assert subprocess.check_output([str(script), "runs"]) == b"runs\n"
    assert list(unfit.iterdir()) == []


@pytest.mark.usefixtures("_anew")
def test_where_no_folder_serves_the_agent_runs_unkept_and_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    unfit = tmp_path / ("long" * 30)
    monkeypatch.setattr(tempfile, "tempdir", str(unfit))
    monkeypatch.setenv("XDG_CACHE_HOME", str(unfit))
    options = ClaudeAgentOptions(cli_path="/bin/echo")
    with caplog.at_level(logging.WARNING):
        assert kept(options) is options
        assert kept(options) is options

    (record,) = caplog.records
    assert "not kept" in record.message
    assert "set TMPDIR" in record.message


def test_the_scripts_are_gone_when_the_worker_has_ended_and_not_when_its_fork_has() -> None:
    ends = (
        "import os, sys\n"
        "from claude_agent_sdk import ClaudeAgentOptions\n"
        "from supervisor.runtime.keeper import kept\n"
        "script = kept(ClaudeAgentOptions()).cli_path\n"
        "if os.fork() == 0:\n"
        "    sys.exit()\n"
        "os.wait()\n"
        "print(script, os.path.exists(script))\n"
    )
    done = subprocess.check_output([sys.executable, "-c", ends], text=True)
    script, _, was_there = done.strip().partition(" ")

    assert was_there == "True"
    assert Path(script).name.startswith("agent-")
    assert not Path(script).parent.exists()


def test_a_client_that_is_not_connected_has_no_process() -> None:
    assert agent_process(ClaudeSDKClient()) is None


def test_ps_tells_the_same_as_proc() -> None:
    own = {each for each in keeper_process.processes() if each[0] == os.getpid()}
    by_ps = {each[:2] for each in keeper_process._listed_by_ps()}

    assert {each[:2] for each in own} <= by_ps
