"""The `lucid` command: parses, calls the runtime, renders."""

from __future__ import annotations

import io
import sys
from pathlib import Path

__all__ = ["main"]


def main() -> None:
    """Run the command line; the process exits with a code of `supervisor.cli.exits`."""
    if Path(__file__).parent.with_name("supervisord.py").exists():
        sys.exit(
            "lucid: the package 'supervisor' (supervisord) is installed in the same environment, "
            "under the same import name. Install Lucid on its own: uv tool install lucid-supervisor"
        )
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a narrow locale is no reason to fail

    from supervisor.cli.commands import lucid

    lucid(prog_name="lucid")
