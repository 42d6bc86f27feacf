"""docs/operate.md, as an operator follows it: from nothing to an alert that fires, and back."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from claude_agent_sdk._internal.transport import subprocess_cli

from supervisor.testing import load_scenario
from tests.prometheus import Prometheus, program

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
CLI = Path(subprocess_cli.__file__).parents[2] / "_bundled"
LONGEST = 60.0
IN_A_HURRY = {"> 300": "> 1", "for: 1m": "for: 1s"}
"""The waits of the alert's rule: promtool tests them as they are."""


def blocks() -> dict[str, list[str]]:
    """The shell's blocks of the page's first part, by their heading."""
    first, _, _ = PAGE.partition("\n## In Kubernetes")
    sections = re.split(r"^### (.+)$", first, flags=re.MULTILINE)[1:]
    return {
        heading: re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
        for heading, text in zip(sections[::2], sections[1::2], strict=True)
    }


class Shell:
    """One bash, in which one block is run after the other."""

    def __init__(self, environment: dict[str, str], said: Path, changes: dict[str, str]) -> None:
        self._changes = changes
        self._said = said.open("wb")
        self._bash = subprocess.Popen(
            ["bash", "-em"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            env=environment,
            start_new_session=True,
        )

    def run(self, block: str) -> str:
        """What a block prints; one of whose commands fails is an `AssertionError`."""
        for text, other in self._changes.items():
            block = block.replace(text, other)
        assert self._bash.stdin is not None
        assert self._bash.stdout is not None
        self._bash.stdin.write(f"{block}\necho; echo block is done\n")
        self._bash.stdin.flush()
        printed: list[str] = []
        for line in self._bash.stdout:
            if line == "block is done\n":
                return "".join(printed)
            printed.append(line)
        raise AssertionError(f"{block}\n{''.join(printed)}\n{Path(self._said.name).read_text()}")

    def end(self) -> None:
        """End it, and whatever is left of what it started."""
        self._bash.kill()
        for pid in _of_session(self._bash.pid):
            os.kill(pid, signal.SIGKILL)
        self._bash.communicate()
        self._said.close()


def _of_session(leader: int) -> list[int]:
    listed = subprocess.run(
        ["ps", "-o", "pid=", "-s", str(leader)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


@pytest.fixture
def ports() -> list[int]:
    with socket.socket() as one, socket.socket() as other:
        for made in (one, other):
            made.bind(("127.0.0.1", 0))
        return [made.getsockname()[1] for made in (one, other)]


@pytest.fixture
def shell(tmp_path: Path, ports: list[int]) -> Iterator[Shell]:
    """Where what the page's first steps install is on the path, and nobody waits for long."""
    lucid, prometheus = ports
    shutil.copytree(ROOT / "dashboards" / "prometheus", tmp_path / "dashboards" / "prometheus")
    for path in (tmp_path / "dashboards" / "prometheus").glob("*.yaml"):
        text = path.read_text()
        for wait, short in IN_A_HURRY.items():
            text = text.replace(wait, short)
        path.write_text(text)
    story = load_scenario("stuck-until-told").model_copy(update={"delay": 0.3})
    (tmp_path / "story.yaml").write_text(story.model_dump_json(exclude_defaults=True))
    paths = [str(Path(sys.executable).parent), str(CLI), os.environ["PATH"]]
    environment = {
        **os.environ,
        "PATH": os.pathsep.join(paths),
        "HOME": str(tmp_path),
        "TMPDIR": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "LUCID": str(tmp_path),
        "LUCID_LISTEN": f"127.0.0.1:{lucid}",
    }
    changes = {
        "7311": str(lucid),
        "9099": str(prometheus),
        "interval: 5s": "interval: 1s",
        "stuck-until-told": str(tmp_path / "story.yaml"),
    }
    made = Shell(environment, tmp_path / "said", changes)
    try:
        yield made
    finally:
        made.end()


def until(found: Callable[[], bool]) -> None:
    give_up = time.monotonic() + LONGEST
    while not found():
        assert time.monotonic() < give_up, f"in vain for {LONGEST:g} s"
        time.sleep(0.1)


def test_an_operator_sees_an_alert_fire_and_puts_it_right(shell: Shell, ports: list[int]) -> None:
    assert program("prometheus")
    assert program("promtool")
    page = blocks()
    prometheus = Prometheus(f"127.0.0.1:{ports[1]}")

    def alerts() -> dict[str, str]:
        asked = prometheus.ask("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["state"] for one in asked}

    (start,) = page["Start the sidecar"]
    assert '"ready":false' in shell.run(start)
    (scrape,) = page["Have Prometheus scrape it"]
    assert "SUCCESS" in shell.run(scrape)
    (loop,) = page["Start an agent that loops"]
    assert "hooks were put into" in shell.run(loop)
    until(prometheus.is_ready)
    until(lambda: alerts().get("LucidSessionLooping") == "firing")

    sessions, listed = page["See the alert fire"]
    shown = shell.run(sessions)
    assert "observing only: 'break loops'" in shown
    assert '"alertname": "LucidSessionLooping"' in shell.run(listed)
    decision = re.findall(r"\[([0-9a-f]{8})\]$", shown, re.MULTILINE)[-1]
    (explain,) = re.findall(r"```console\n\$ (lucid explain) ", PAGE)
    assert "observ" in shell.run(f"{explain} {decision}")

    (put_right,) = page["Read the runbook, and put it right"]
    after = shell.run(put_right)
    assert "its quota is used up" in after
    until(lambda: "LucidSessionLooping" not in alerts())
    (take_away,) = page["Take it away"]
    shell.run(take_away)


def test_every_heading_with_commands_is_tried() -> None:
    assert [heading for heading, found in blocks().items() if found] == [
        "Install",
        "Start the sidecar",
        "Have Prometheus scrape it",
        "Start an agent that loops",
        "See the alert fire",
        "Read the runbook, and put it right",
        "Take it away",
    ]


def test_every_link_leads_somewhere() -> None:
    linked = [link for link in re.findall(r"\]\(([^)]+)\)", PAGE) if "://" not in link]

    assert linked
    for link in linked:
        path, _, part = link.partition("#")
        text = (ROOT / "docs" / path).read_text(encoding="utf-8")
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        anchors = {re.sub(r"[^a-z0-9 -]", "", h.lower()).replace(" ", "-") for h in headings}
        assert not part or part in anchors, link
