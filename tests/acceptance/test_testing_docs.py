"""The examples of docs/testing.md do what the page says."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from supervisor.testing import shipped_scenarios
from supervisor.testing.conditions import When

PAGE = (Path(__file__).parents[2] / "docs" / "testing.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    """The page's first code block in that language."""
    found = re.search(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_example_runs(tmp_path: Path) -> None:
    (tmp_path / "port.yaml").write_text(block("yaml"))

    ran = subprocess.run(
        [sys.executable, "-c", block("python")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.stdout, ran.stderr) == ("It listens on port 8080.\n", "")


def test_every_condition_and_shipped_scenario_is_documented() -> None:
    keys = [field.alias or name for name, field in When.model_fields.items()]

    missing = [name for name in [*keys, *shipped_scenarios()] if f"`{name}`" not in PAGE]

    assert not missing
