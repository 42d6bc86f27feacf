"""A real terminal for a process under test: it has a size, and Ctrl-C is a key."""

from __future__ import annotations

import fcntl
import os
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

__all__ = ["CTRL_C", "Terminal", "plain"]

CTRL_C = b"\x03"

_ATTACH = (
    "import fcntl, os, sys, termios\n"
    "os.setsid()\n"
    "fcntl.ioctl(0, termios.TIOCSCTTY, 0)\n"
    "os.execv(sys.argv[1], sys.argv[1:])\n"
)
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


class Terminal:
    """`lucid` with these arguments in a terminal so many columns wide."""

    def __init__(
        self, *arguments: str, columns: int, env: Mapping[str, str], cwd: Path | None = None
    ) -> None:
        self._ours, theirs = os.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
        lucid = [sys.executable, "-m", "supervisor.cli", *arguments]
        self.process = subprocess.Popen(
            [sys.executable, "-c", _ATTACH, *lucid],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={"TERM": "xterm-256color", **env},
            cwd=cwd,
        )
        os.close(theirs)
        self._shown = b""

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._ours, keys)

    def read(self, until: str | None = None) -> str:
        """Everything it has shown once these words are there; without them, or if
        they never come, once it has ended, which it must."""
        while until is None or until not in plain(self._text()):
            if not (chunk := self._chunk()):
                os.close(self._ours)
                self.process.wait(timeout=60)
                break
            self._shown += chunk
        return self._text()

    def _chunk(self) -> bytes:
        try:
            return os.read(self._ours, 65536)
        except OSError:  # EIO: the other side is closed
            return b""

    def _text(self) -> str:
        # A piece may end within a character.
        return self._shown.decode(errors="replace").replace("\r\n", "\n")


def plain(shown: str) -> str:
    """What is shown, without colours; every other sequence stays."""
    return _STYLE.sub("", shown)
