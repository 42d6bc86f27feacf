"""What `docs/files.md` shows is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from supervisor.files.model import Limits

PAGE = (Path(__file__).parents[3] / "docs" / "files.md").read_text(encoding="utf-8")


def test_the_example_on_the_page_runs() -> None:
    [example] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", example], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.splitlines() == [
        '- Created: "stray.txt"',
        '- Changed: "plan.txt"',
        '- Set back: "plan.txt"',
        '- Removed, created since: "stray.txt"',
    ]


def test_the_limits_on_the_page_are_those_of_the_code() -> None:
    plain, versioned = Limits.for_folder(), Limits.for_repository()
    for row in (
        f"| files | {plain.files:,} | {versioned.files:,} |",
        f"| bytes in all | {plain.bytes // 1024**2} MB | {versioned.bytes // 1024**2} MB |",
        f"| {plain.file_bytes // 1024**2} MB | {versioned.file_bytes // 1024**2} MB |",
    ):
        assert row in PAGE
