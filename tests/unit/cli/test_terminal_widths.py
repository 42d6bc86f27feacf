"""What is stored, looked at in terminals of several widths."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.terminal import Terminal, plain
from tests.unit.cli.conftest import MAIN, unprintable


def lucid(kept: Path, *arguments: str, columns: int, **env: str) -> str:
    own = {"PATH": os.environ["PATH"], "LUCID_STORE": str(kept), "TZ": "UTC"}
    terminal = Terminal(*arguments, columns=columns, env=own | env)
    shown = terminal.read()
    assert terminal.process.returncode == 0
    assert not unprintable(plain(shown))
    return shown


@pytest.mark.parametrize("columns", [70, 90])
def test_sessions_stay_on_one_line(kept: Path, columns: int) -> None:
    heading, line = plain(lucid(kept, "sessions", columns=columns)).splitlines()

    assert heading.split()[-1].startswith("obj")
    assert line.startswith("11111111")
    assert len(line.rstrip()) <= columns
    assert line.rstrip().endswith("…")


def test_show_cuts_the_agents_words_and_folds_lucids(kept: Path) -> None:
    shown = lucid(kept, "show", MAIN, columns=60)

    lines = [line.rstrip() for line in plain(shown).splitlines()][5:]
    assert all(len(line) <= 60 for line in lines)
    assert sum("result" in line for line in lines) == 4
    verdict = next(number for number, line in enumerate(lines) if "verdict" in line)
    assert "▌ verdict  loop  Bash returned the same" in lines[verdict]
    assert lines[verdict + 1].startswith(" " * 26)
    told = " ".join(" ".join(lines[verdict : verdict + 4]).split())
    assert "with nothing new in between. (warning, confidence 0.80)" in told


def test_what_a_rollback_left_behind_is_dimmed(kept: Path) -> None:
    lines = lucid(kept, "show", MAIN, columns=100).splitlines()

    left = [line for line in lines if "~" in line]
    assert len(left) == 6
    assert all("\x1b[2m" in line and "\x1b[36m" not in line for line in left)
    assert any("\x1b[36mBash" in line for line in lines if "~" not in line)


def test_no_color_is_heeded(kept: Path) -> None:
    shown = lucid(kept, "show", MAIN, columns=100, NO_COLOR="1")

    assert "\x1b[36m" not in shown
    assert "▌ verdict" in plain(shown)
