"""The `git` binary, run so that nothing in a repository can make it run anything else."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from subprocess import PIPE, Popen
from tempfile import TemporaryFile
from typing import IO

from supervisor.core.text import one_line
from supervisor.errors import FilesError

__all__ = ["Call", "Git", "find_git"]

_SETTINGS = {
    # Programs that git would start.
    "core.hooksPath": os.devnull,
    "core.fsmonitor": "false",
    "protocol.allow": "never",
    "gc.auto": "0",
    "maintenance.auto": "false",
    # Files are kept byte for byte, with any name that the file system takes.
    "core.attributesFile": os.devnull,
    "core.excludesFile": os.devnull,
    "core.autocrlf": "false",
    "core.safecrlf": "false",
    "core.symlinks": "true",
    "core.fileMode": "true",
    "core.protectNTFS": "false",
    # The index is private and small; nothing clever is needed, and nothing beside it.
    "core.splitIndex": "false",
    "core.untrackedCache": "false",
    "core.sparseCheckout": "false",
    # Objects survive a power cut, or the index would believe in ones that did not.
    "core.fsync": "objects",
    "core.fsyncMethod": "batch",
}

_ENVIRONMENT = {
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_ALLOW_PROTOCOL": "",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
}

_CHUNK = 64 * 1024
_THREADS = ThreadPoolExecutor(8, thread_name_prefix="lucid-git")
"""A command may take long: the loop's own threads are left to others."""


@dataclass(frozen=True, slots=True)
class Call:
    """Where a git command works; all but the store itself is optional."""

    cwd: Path | None = None
    work_tree: Path | None = None
    index: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict)
    most_output: int = sys.maxsize
    """Bytes after which the command is stopped."""
    as_user: bool = False
    """With the user's own configuration, which is the user's to trust."""


_NOWHERE = Call()


def find_git() -> Path:
    """The git binary on `PATH`. Raises `FilesError` where there is none."""
    # A relative entry of PATH would find a program in whatever folder we are in.
    entries = os.environ.get("PATH", os.defpath).split(os.pathsep)
    found = shutil.which("git", path=os.pathsep.join(filter(os.path.isabs, entries)))
    if found is None:
        raise FilesError("git was not found on PATH: install it to have files checkpointed")
    return Path(found)


class Git:
    """Runs git on one bare repository of Lucid's own.

    Every command has `seconds` to end, else it is killed. Raises `FilesError`.
    """

    def __init__(self, program: Path, repository: Path, seconds: float) -> None:
        self._program = program
        self._repository = repository
        self._seconds = seconds
        self.lock_file: int | None = None
        """A descriptor that commands inherit: a lock on it is held until the last of
        them ends, even if this process is killed before."""

    async def run(
        self,
        *arguments: str,
        call: Call = _NOWHERE,
        given: bytes | IO[bytes] = b"",
        into: IO[bytes] | None = None,
    ) -> bytes:
        """What the command wrote, or nothing where it wrote `into` a file."""
        code, output, said = await self.tried(*arguments, call=call, given=given, into=into)
        if code:
            raise FilesError(f"git {arguments[0]} failed: {said}")
        return output

    async def tried(
        self,
        *arguments: str,
        call: Call = _NOWHERE,
        given: bytes | IO[bytes] = b"",
        into: IO[bytes] | None = None,
    ) -> tuple[int, bytes, str]:
        """Exit code, output and the last of what it said, of a command that may fail."""
        command = _Command(
            [str(self._program), *_options(call), *arguments],
            cwd=call.cwd or self._repository,
            environment=self._environment(call),
            lock_file=self.lock_file,
        )
        work = partial(command.run, given, into, call.most_output)
        running = asyncio.get_running_loop().run_in_executor(_THREADS, work)
        try:
            async with asyncio.timeout(self._seconds):
                return await asyncio.shield(running)
        except TimeoutError:
            raise FilesError(f"git {arguments[0]} took over {self._seconds:g} s") from None
        except OSError as error:
            raise FilesError(f"git {arguments[0]} could not be started: {error}") from error
        finally:
            command.kill()
            # The store's lock is held until then, also where this was cancelled.
            await asyncio.wait([running])

    def _environment(self, call: Call) -> dict[str, str]:
        environment = {
            **_ENVIRONMENT,
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self._repository),
            "XDG_CONFIG_HOME": str(self._repository),
            "GIT_DIR": str(self._repository),
        }
        if call.work_tree is not None:
            environment["GIT_WORK_TREE"] = str(call.work_tree)
        if call.index is not None:
            environment["GIT_INDEX_FILE"] = str(call.index)
        if call.as_user:
            for name in ("HOME", "XDG_CONFIG_HOME", "GIT_CONFIG_GLOBAL"):
                environment.pop(name, None)
                environment.update({name: os.environ[name]} if name in os.environ else {})
        return environment


def _options(call: Call) -> list[str]:
    settings = {**_SETTINGS, **call.settings}
    return [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]


class _Command:
    """One git command, run in a thread. Not by asyncio: a loop that is closed while it
    starts a process waits for ever (CPython 3.11)."""

    def __init__(
        self, words: list[str], *, cwd: Path, environment: dict[str, str], lock_file: int | None
    ) -> None:
        self._words = words
        self._cwd = cwd
        self._environment = environment
        self._lock_file = lock_file
        self._process: Popen[bytes] | None = None
        self._is_killed = False

    def run(
        self, given: bytes | IO[bytes], into: IO[bytes] | None, most_output: int
    ) -> tuple[int, bytes, str]:
        """See `Git.tried`. Raises `OSError` where it cannot be started."""
        with TemporaryFile() as said, _source(given) as source:
            process = self._process = self._started(source, into or PIPE, said)
            if self._is_killed:
                process.kill()
            with process:
                output = self._output(process, most_output)
            return process.returncode, output, _last_words(said)

    def kill(self) -> None:
        """End it, from any thread; harmless where it has ended."""
        self._is_killed = True
        if self._process is not None:
            self._process.kill()

    def _started(self, source: IO[bytes], output: int | IO[bytes], said: IO[bytes]) -> Popen[bytes]:
        return Popen(
            self._words,
            stdin=source,
            stdout=output,
            stderr=said,
            cwd=self._cwd,
            env=self._environment,
            # Ctrl-C at a terminal is the supervisor's to answer.
            start_new_session=True,
            pass_fds=() if self._lock_file is None else (self._lock_file,),
        )

    def _output(self, process: Popen[bytes], most: int) -> bytes:
        if process.stdout is None:
            return b""
        chunks: list[bytes] = []
        size = 0
        while chunk := process.stdout.read(_CHUNK):
            chunks.append(chunk)
            size += len(chunk)
            if size > most:
                process.kill()
                raise FilesError(f"git wrote more than {most:,} bytes")
        return b"".join(chunks)


@contextmanager
def _source(given: bytes | IO[bytes]) -> Iterator[IO[bytes]]:
    """What the command reads, as a file, so that neither waits for the other."""
    if not isinstance(given, bytes):
        yield given
        return
    with TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        yield file


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - 300))
    return one_line(said.read().decode("utf-8", "replace").strip(), 300)
