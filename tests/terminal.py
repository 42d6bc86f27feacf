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

    def press(self, keys: bytes) -> None:
        """Type something."""
        os.write(self._ours, keys)

    def read(self) -> str:
        """Everything it shows until it ends, which it must."""
        shown = b""
        try:
            while chunk := os.read(self._ours, 65536):
                shown += chunk
        except OSError:  # EIO: the other side is closed
            pass
        os.close(self._ours)
        self.process.wait(timeout=60)
        return shown.decode().replace("\r\n", "\n")


def plain(shown: str) -> str:
    """What is shown, without colours; every other sequence stays."""
    return _STYLE.sub("", shown)
