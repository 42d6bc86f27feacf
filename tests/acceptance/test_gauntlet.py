"""`lucid gauntlet`: three of its scenarios, each in all three ways, with the real CLI."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

LIMIT_SECONDS = 100.0
PAGE = """# Page

<!-- figures: written by lucid gauntlet, not by hand -->
old
<!-- end of figures -->

The rest.
"""


def test_failing_agents_alone_tried_again_and_supervised(tmp_path: Path) -> None:
    page, figures = tmp_path / "page.md", tmp_path / "figures.json"
    page.write_text(PAGE)
    names = ["loop-posts-again", "outage-server-error", "healthy-corrects-itself"]
    only = [part for name in names for part in ("--only", name)]
    written = ["--json", str(figures), "--markdown", str(page)]

    ran = subprocess.run(
        [sys.executable, "-m", "supervisor.cli", "gauntlet", *only, *written],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
        timeout=LIMIT_SECONDS,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    told = json.loads(figures.read_text())
    runs = {one["name"]: one["runs"] for one in told["scenarios"]}
    finished = {name: [run["finished"] for run in one] for name, one in runs.items()}
    assert finished == {
        "loop-posts-again": [False, False, True],
        "outage-server-error": [False, True, True],
        "healthy-corrects-itself": [True, True, True],
    }
    assert told["met"] is True
    alone, retry, supervised = (run["repeated"] for run in runs["loop-posts-again"])
    assert supervised < alone < retry
    assert [run["repeated"] for run in runs["outage-server-error"]] == [0, 1, 0]
    assert runs["outage-server-error"][2]["actions"] == ["resume"]
    assert runs["healthy-corrects-itself"][2]["actions"] == []
    assert "| recoverable | supervised | 2 | 2 |" in page.read_text()
    assert page.read_text().endswith("The rest.\n")
