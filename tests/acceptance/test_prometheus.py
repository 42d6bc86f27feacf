"""A real Prometheus scrapes a live sidecar, and evaluates every rule and every panel."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from tests.prometheus import Prometheus, program, running_prometheus
from tests.unit.sidecar.bare_agent import BareAgent

FOLDER = Path(__file__).parents[2] / "dashboards"
TOKEN = "a-token-of-the-tests-own-and-of-no-one-else"
CHOSEN = {
    "$job": ".+",
    "$instance": ".+",
    "$__rate_interval": "1m",
    "$__range": "5m",
}
"""What Grafana puts in place of its variables."""
LONGEST = 30.0


@dataclass
class LiveSidecar:
    """A sidecar's process, and where it listens."""

    address: str
    projects: Path

    def page(self, path: str, body: bytes | None = None) -> str:
        """What it answers."""
        headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
        with urlopen(Request(f"http://{self.address}{path}", body, headers), timeout=10) as answer:
            text: str = answer.read().decode()
        return text

    def post(self, **hook: Any) -> str:
        """Post a hook, as an agent does."""
        return self.page("/hooks", json.dumps(hook).encode())


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveSidecar]:
    """`lucid sidecar` beside an agent that loops in a context that is almost full."""
    folder = tmp_path_factory.mktemp("beside")
    projects = folder / "projects"
    projects.mkdir()
    (folder / "token").write_text(TOKEN)
    (folder / "token").chmod(0o600)
    command = [sys.executable, "-m", "supervisor.cli", "sidecar", str(projects)]
    command += ["--policy=observe", f"--store={folder / 'lucid.db'}", "--listen=127.0.0.1:0"]
    environment = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder / "data")}
    with (folder / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, f"--token-file={folder / 'token'}"],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            env=environment,
        )
    try:
        address = _address(process, folder / "said")
        beside = LiveSidecar(address, projects)
        _misbehave(beside)
        yield beside
    finally:
        process.terminate()
        process.wait(LONGEST)


def _address(process: subprocess.Popen[bytes], said: Path) -> str:
    def announced() -> str | None:
        assert process.poll() is None, said.read_text()
        found = re.search(r"listening on (?:http://)?(127\.0\.0\.1:\d+)", said.read_text())
        return found[1] if found else None

    return until(announced)


def _misbehave(live: LiveSidecar) -> None:
    agent = BareAgent(live.projects)
    agent.prompt()
    agent.loop(6)
    thought = {
        "id": "msg_full",
        "type": "message",
        "role": "assistant",
        "model": "claude-opus-5-5",
        "content": [{"type": "text", "text": "Once more."}],
        "stop_reason": None,
        "usage": {"input_tokens": 400, "cache_read_input_tokens": 190_000, "output_tokens": 20},
    }
    agent.write(agent.line("assistant", thought))
    live.post(
        hook_event_name="PreToolUse",
        session_id=agent.session_id,
        transcript_path=str(agent.path),
        cwd="/srv/shop",
        tool_name="Bash",
        tool_input={"command": "make build"},
        tool_use_id="toolu_next",
    )


def until(found: Callable[[], Any]) -> Any:
    """Wait until something is found."""
    give_up = time.monotonic() + LONGEST
    while not (value := found()):
        assert time.monotonic() < give_up, f"in vain for {LONGEST:g} s"
        time.sleep(0.05)
    return value


@pytest.fixture(scope="module")
def prometheus(live: LiveSidecar, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A server with the shipped rules, once it has scraped the sidecar twice."""
    config = {
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(FOLDER / "prometheus" / "*.yaml")],
        "scrape_configs": [
            {
                "job_name": "lucid",
                "authorization": {"credentials": TOKEN},
                "static_configs": [{"targets": [live.address]}],
            }
        ],
    }
    with running_prometheus(tmp_path_factory.mktemp("prometheus"), config) as server:
        until(lambda: (server.value("sum_over_time(up[1m])") or 0) >= 3)
        yield server


BOARDS = sorted((FOLDER / "grafana").glob("*.json"))


def queries(path: Path) -> Iterator[tuple[str, str]]:
    """Each query of a dashboard, as Grafana would ask it, with the panel that it is for."""
    board = json.loads(path.read_text(encoding="utf-8"))
    for panel in [*board["panels"], *board.get("annotations", {}).get("list", [])]:
        for target in panel.get("targets", [panel]):
            expr = target["expr"]
            for variable, chosen in CHOSEN.items():
                expr = expr.replace(variable, chosen)
            yield panel.get("title") or panel["name"], expr


def test_what_a_misbehaving_agent_does_arrives(prometheus: Prometheus) -> None:
    value = prometheus.value
    assert value('up{job="lucid"}') == 1
    assert value('lucid_sessions{state="running"}') == 1
    assert (value('sum(lucid_verdicts_total{failure_mode="loop"})') or 0) >= 1
    assert value('lucid_failing_sessions{failure_mode="loop"}') == 1
    assert value("lucid_context_occupancy_max_ratio") == pytest.approx(0.952, abs=0.001)
    assert value('lucid_tokens_total{use="cache_read"}') == 190_000
    assert (value("sum(lucid_wasted_tokens_total)") or 0) > 0
    assert value('lucid_hook_requests_total{event="PreToolUse", result="failed"}') == 0
    assert value('sum(lucid_hook_requests_total{event="PreToolUse"})') == 1
    assert value("lucid_build_info") == 1


def test_it_can_be_told_how_many_contexts_are_nearly_full(prometheus: Prometheus) -> None:
    page = (FOLDER.parent / "docs" / "metrics.md").read_text(encoding="utf-8")
    (query,) = re.findall(r"```promql\n(.*?)```", page, re.DOTALL)
    assert prometheus.value(query) == 1


def test_every_rule_is_evaluated_without_error(prometheus: Prometheus) -> None:
    def evaluated() -> list[dict[str, Any]]:
        found = [r for group in prometheus.ask("rules")["groups"] for r in group["rules"]]
        return found if all(rule["health"] != "unknown" for rule in found) else []

    rules = until(evaluated)
    assert {
        rule["name"]: rule.get("lastError", "") for rule in rules if rule["health"] != "ok"
    } == {}
    assert len(rules) == 15


def test_an_alert_begins_to_be_held(prometheus: Prometheus) -> None:
    """Its context is full; that it stays so for five minutes is promtool's to test."""

    def pending() -> Any:
        alerts = prometheus.ask("alerts")["alerts"]
        return {one["labels"]["alertname"]: one["state"] for one in alerts}

    assert until(pending) == {"LucidContextNearlyFull": "pending"}


@pytest.mark.parametrize("path", BOARDS, ids=[path.stem for path in BOARDS])
def test_every_panel_can_be_drawn(prometheus: Prometheus, path: Path) -> None:
    for panel, expr in queries(path):
        assert "$" not in expr, panel
        prometheus.over_time(expr)


def test_promtool_finds_no_fault_in_what_is_served(live: LiveSidecar) -> None:
    served = live.page("/metrics")
    # prometheus-client's own, and those of prometheus-client's `_created`, are not ours.
    ours = [
        line
        for line in served.splitlines()
        if re.match(r"(# (?:HELP|TYPE) )?lucid_", line) and "_created" not in line
    ]
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"],
        input="\n".join(ours) + "\n",
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert checked.stdout + checked.stderr == ""
