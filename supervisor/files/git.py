"""The `git` binary, run so that nothing in a repository can make it run anything else."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
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
        process = await self._start(arguments, call, given, into)
        try:
            async with asyncio.timeout(self._seconds):
                return await _talk(process, given, call.most_output)
        except TimeoutError:
            raise FilesError(f"git {arguments[0]} took over {self._seconds:g} s") from None
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.kill()
                await process.wait()

    async def _start(
        self,
        arguments: tuple[str, ...],
        call: Call,
        given: bytes | IO[bytes],
        into: IO[bytes] | None,
    ) -> Process:
        settings = {**_SETTINGS, **call.settings}
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        try:
            return await asyncio.create_subprocess_exec(
                self._program,
                *options,
                *arguments,
                stdin=_source(given),
                stdout=into or PIPE,
                stderr=PIPE,
                cwd=call.cwd or self._repository,
                env=self._environment(call),
                # Ctrl-C at a terminal is the supervisor's to answer.
                start_new_session=True,
                pass_fds=() if self.lock_file is None else (self.lock_file,),
            )
        except OSError as error:
            raise FilesError(f"git {arguments[0]} could not be started: {error}") from error

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


def _source(given: bytes | IO[bytes]) -> int | IO[bytes]:
    if isinstance(given, bytes):
        return PIPE if given else DEVNULL
    return given


async def _talk(
    process: Process, given: bytes | IO[bytes], most_output: int
) -> tuple[int, bytes, str]:
    _, output, said = await asyncio.gather(
        _feed(process, given), _output(process, most_output), _last_words(process)
    )
    return await process.wait(), output, said


async def _feed(process: Process, given: bytes | IO[bytes]) -> None:
    if process.stdin is None or not isinstance(given, bytes):
        return
    # It may end without having read everything; its exit code says why.
    with suppress(BrokenPipeError, ConnectionResetError):
        process.stdin.write(given)
        await process.stdin.drain()
    process.stdin.close()


async def _output(process: Process, most: int) -> bytes:
    if process.stdout is None:
        return b""
    chunks: list[bytes] = []
    size = 0
    while chunk := await process.stdout.read(_CHUNK):
        chunks.append(chunk)
        size += len(chunk)
        if size > most:
            raise FilesError(f"git wrote more than {most:,} bytes")
    return b"".join(chunks)


async def _last_words(process: Process) -> str:
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(_CHUNK):
        kept = (kept + chunk)[-2000:]
    return one_line(kept.decode("utf-8", "replace")[-300:].strip(), 300)
