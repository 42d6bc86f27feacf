"""`lucid demo`: its story, as it is told and as it is kept."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from supervisor.core.session import SessionState
from supervisor.store.sqlite import SqliteStore

pytestmark = pytest.mark.anyio

LIMIT_SECONDS = 60.0


@dataclass
class Machine:
    """A home without a key and a folder for temporary files."""

    folder: Path

    @property
    def env(self) -> dict[str, str]:
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder / "nowhere"),
            "TMPDIR": str(self.folder),
            # What the demo must neither use nor fail on.
            "ANTHROPIC_API_KEY": "somebody's",
            "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
            "LUCID_POLICY": "no such policy",
        }

    def lucid(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "supervisor.cli", *arguments],
            env=self.env,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=LIMIT_SECONDS,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


async def test_the_demos_story(machine: Machine) -> None:
    ran = machine.lucid("demo", "--svg", "demo.svg")

    assert (ran.returncode, ran.stderr) == (0, "")
    alone, supervised, table, after = parts(ran.stdout)
    assert alone == [
        "The task: Last night's build failed. Find out from the project's logs why, and write the "
        "cause in one sentence to cause.txt.",
        "1. The agent alone: 20 turns at the most",
        "call Bash ls -R",
        "call Bash cat build.log ×19",  # noqa: RUF001 - a sign
        "Stopped: ran into its turn limit",
    ]
    told = [words(line) for line in supervised if line.startswith(("▌ decision", "▌ outcome"))]
    assert_that_is_the_story(told)
    assert supervised[-1].startswith("Reached: the agent finished")
    assert "finished no: ran into its turn limit yes" in table
    assert "cause.txt not written written" in table
    (tools,) = (line for line in table if line.startswith("tool calls"))
    assert tools.split()[2] == "20"
    assert int(tools.split()[3]) < 20
    assert re.findall(r"(\d)\. (\w+): (\w+)", " ".join(table)) == [
        ("1", "nudge", "failed"),
        ("2", "rollback", "cleared"),
        ("3", "correct", "cleared"),
    ]
    assert len(after) <= 3
    await kept_as_told(machine, after[0])
    nothing_else_is_left(machine, after[0])
    picture = (machine.folder / "demo.svg").read_text()
    assert "rollback" in picture
    assert "@font-face" not in picture


def words(line: str) -> str:
    """`nudge decided` or `nudge failed` for a line of the story."""
    _, kind, action, status, *_ = line.split()
    return f"{action} {'decided' if kind == 'decision' else status}"


def assert_that_is_the_story(events: list[str]) -> None:
    """Nudged, which fails; rolled back, which clears the loop; corrected, which clears the
    invented tools. The last two may be seen to have helped in either order."""
    assert events[:3] == ["nudge decided", "nudge failed", "rollback decided"]
    assert sorted(events[3:]) == ["correct cleared", "correct decided", "rollback cleared"]
    assert events.index("correct decided") < events.index("correct cleared")


def parts(output: str) -> tuple[list[str], list[str], list[str], list[str]]:
    """The agent alone, the agent supervised, the table, and what to do next; each line
    with single spaces."""
    lines = [" ".join(line.split()) for line in output.splitlines()]
    lines = [line for line in lines if line]
    second = next(n for n, line in enumerate(lines) if line.startswith("2. "))
    table = lines.index("alone with Lucid")
    after = next(n for n, line in enumerate(lines) if line.startswith("Next: "))
    return (
        joined(lines[:second]),
        joined(lines[second:table]),
        lines[table:after],
        lines[after + 1 :],
    )


def joined(lines: list[str]) -> list[str]:
    """Lines as they were before they were folded to the width."""
    starts = ("The task", "1.", "2.", "call", "result", "agent", "▌", "Stopped", "Reached")
    whole: list[str] = []
    for line in lines:
        if line.startswith(starts):
            whole.append(line)
        else:
            whole[-1] += f" {line}"
    return whole


async def kept_as_told(machine: Machine, command: str) -> None:
    """The session can be looked up by the command that the demo ends with."""
    program, *arguments = command.split()
    assert program == "lucid"
    shown = machine.lucid(*arguments, "--json")
    items: list[dict[str, Any]] = [json.loads(line) for line in shown.stdout.splitlines()]
    assert items[0]["state"] == "reached"
    events = [item for item in items if item["item"] in ("decision", "outcome")]
    assert_that_is_the_story(
        [
            f"{event['action']} {event.get('status', 'decided')}"
            for event in events
            if event["item"] == "outcome" or event["choice"] == "act"
        ]
    )
    tools = [item["tool"] for item in items if item.get("kind") == "tool_call"]
    assert "SearchLogs" in tools
    assert tools[-2:] == ["Bash", "Write"]

    again = machine.lucid("replay", *arguments[1:])
    assert (again.returncode, again.stderr) == (0, "")
    assert re.search(r"entries: the same \d+ verdicts as live$", again.stdout.rstrip())

    async with SqliteStore(Path(arguments[-1])) as store:
        (session,) = await store.sessions()
        intents = await store.intents(session.session_id)
    assert session.state is SessionState.REACHED
    assert [intent.tool for intent in intents][-2:] == ["Bash", "Write"]


def nothing_else_is_left(machine: Machine, command: str) -> None:
    kept = Path(command.split()[-1]).parent
    assert {path.name for path in machine.folder.iterdir()} == {kept.name, "demo.svg"}
    assert {path.name.partition(".")[0] for path in kept.iterdir()} == {"lucid"}
