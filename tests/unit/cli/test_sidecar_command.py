"""`lucid sidecar` and `lucid worker --listen`: from the first line to the exit code."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

TOKEN = "a-token-of-the-tests"
Environment = dict[str, str]


@pytest.fixture
def environment(tmp_path: Path) -> Environment:
    """A user's of their own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LUCID_")}
    return {
        **kept,
        "HOME": str(tmp_path),
        "XDG_DATA_HOME": str(tmp_path / "data"),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "LUCID_STORE": str(tmp_path / "lucid.db"),
    }


def lucid(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "supervisor.cli", *arguments]


class Process:
    """A command that serves, up to its `listening on` line."""

    def __init__(self, running: subprocess.Popen[str]) -> None:
        self._running = running
        self.said: list[str] = []
        assert running.stderr is not None
        for line in running.stderr:
            self.said.append(line.rstrip("\n"))
            if line.startswith("listening on "):
                return
        raise AssertionError("\n".join(self.said))

    def get(self, path: str, token: str | None = None) -> tuple[int, Any]:
        """The status and the JSON, or text, of a request."""
        return self.ask("GET", path, token)

    def post(self, token: str, hook: dict[str, object]) -> tuple[int, Any]:
        """Of a hook."""
        return self.ask("POST", "/hooks", token, json.dumps(hook))

    def until_ready(self) -> None:
        """Wait until it can do its work."""
        until = time.monotonic() + 20
        while (answer := self.get("/readyz"))[0] != 200:
            assert time.monotonic() < until, answer
            time.sleep(0.02)

    def ask(
        self, method: str, path: str, token: str | None, body: str | None = None
    ) -> tuple[int, Any]:
        """The status and the JSON, or text, of any request."""
        host, _, port = self.said[-1].removeprefix("listening on http://").rpartition(":")
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with closing(HTTPConnection(host, int(port), timeout=10)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text

    def end(self, number: signal.Signals) -> tuple[int, str]:
        """Send a signal; returns the exit code and what was said since."""
        self._running.send_signal(number)
        _, said = self._running.communicate(timeout=30)
        return self._running.returncode, said


@contextmanager
def started(environment: Environment, *arguments: str) -> Iterator[Process]:
    with subprocess.Popen(
        lucid(*arguments), env=environment, stderr=subprocess.PIPE, text=True
    ) as running:
        try:
            yield Process(running)
        finally:
            running.kill()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_says_what_it_does_serves_and_leaves_in_good_order(
    environment: Environment, tmp_path: Path, number: signal.Signals
) -> None:
    with started(environment, "sidecar", str(tmp_path), "--listen=127.0.0.1:0") as sidecar:
        own = tmp_path / "data" / "lucid" / "service-token"
        assert [sidecar.said[0], *sidecar.said[2:4]] == [
            f"following {tmp_path}",
            f"store: {tmp_path / 'lucid.db'}",
            f"token: {own}",
        ]
        assert sidecar.said[1].startswith("policy: ")
        assert sidecar.said[1].endswith("default.yaml (act)")
        token = own.read_text().strip()
        assert token not in "".join(sidecar.said)
        assert sidecar.get("/healthz")[0] == 200
        assert sidecar.get("/api/v1/sessions")[0] == 401
        assert sidecar.get("/api/v1/sessions", token) == (200, {"items": [], "next": None})
        assert "lucid_build_info{" in sidecar.get("/metrics", token)[1]

        code, said = sidecar.end(number)

    assert code == 0
    assert f"lucid: {number.name}: leaving in good order" in said


def test_a_folder_that_is_not_there_is_waited_for(environment: Environment, tmp_path: Path) -> None:
    folder = tmp_path / "later"
    with started(environment, "sidecar", str(folder), "--listen=127.0.0.1:0") as sidecar:
        assert sidecar.said[0] == f"following {folder} (not there yet: waited for)"
        status, said = sidecar.get("/readyz")

    assert (status, said["ready"]) == (503, False)
    assert any(str(folder) in reason for reason in said["reasons"])


def test_without_a_folder_the_users_own_is_followed(
    environment: Environment, tmp_path: Path
) -> None:
    with started(environment, "sidecar", f"--listen=unix:{tmp_path / 's'}") as sidecar:
        assert sidecar.said[0].startswith(f"following {tmp_path / '.claude' / 'projects'} ")
        assert sidecar.said[-1] == f"listening on unix:{tmp_path / 's'}"
        sidecar.end(signal.SIGTERM)
    assert not (tmp_path / "s").exists()


def _bad_policy(tmp_path: Path) -> list[str]:
    (tmp_path / "bad.yaml").write_text("version: 1\nmode: dream\n")
    return ["--policy", str(tmp_path / "bad.yaml")]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (lambda _: ["--listen=0.0.0.0:0"], "choose a token for them with --token-file"),
        (lambda _: ["--listen=nowhere"], "write HOST:PORT"),
        (lambda path: [f"--token-file={path / 'none'}"], "cannot be read"),
        (_bad_policy, "bad.yaml:2:7: mode: "),
        (lambda _: ["--policy=nobodys"], "nobodys"),
    ],
)
def test_what_cannot_be_is_said_before_anything_is_begun(
    environment: Environment,
    tmp_path: Path,
    arguments: Callable[[Path], list[str]],
    said: str,
) -> None:
    command = lucid("sidecar", str(tmp_path), *arguments(tmp_path))
    ran = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )

    assert ran.returncode == 2
    assert said in ran.stderr
    assert "Traceback" not in ran.stderr
    assert not (tmp_path / "lucid.db").exists()


def test_a_port_that_is_taken_is_said(environment: Environment, tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ran = subprocess.run(
            lucid("sidecar", str(tmp_path), f"--listen=127.0.0.1:{port}"),
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    assert ran.returncode == 2
    assert f"lucid: cannot listen on http://127.0.0.1:{port}: Address already in use" in ran.stderr


def test_a_hook_has_the_transcript_read_and_everything_else_has_no_effect(
    environment: Environment, tmp_path: Path
) -> None:
    session_id = "11111111-1111-4111-8111-111111111111"
    file = tmp_path / "projects" / "-work" / f"{session_id}.jsonl"
    file.parent.mkdir(parents=True)
    outside = tmp_path / "elsewhere.jsonl"
    outside.write_text("{}\n")
    hook: dict[str, object] = {
        "hook_event_name": "PreToolUse",
        "session_id": session_id,
        "transcript_path": str(file),
        "tool_name": "Bash",
        "tool_use_id": "toolu_1",
        "tool_input": {"command": "ls"},
    }
    given = {**environment, "LUCID_TOKEN": TOKEN}
    projects = str(tmp_path / "projects")
    with started(given, "sidecar", projects, "--listen=127.0.0.1:0") as sidecar:
        sidecar.until_ready()
        line = {
            "type": "user",
            "uuid": "u-1",
            "sessionId": session_id,
            "timestamp": "2026-01-01T12:00:00.000Z",
            "message": {"role": "user", "content": "List the files."},
        }
        file.write_text(json.dumps(line) + "\n")

        assert sidecar.post(TOKEN, hook) == (200, {})
        assert sidecar.post(TOKEN, hook) == (200, {})  # twice
        for path in (outside, file.parent / ".." / ".." / "elsewhere.jsonl", "/etc/passwd", ""):
            assert sidecar.post(TOKEN, {**hook, "transcript_path": str(path)}) == (200, {})
        assert sidecar.post("not-the-token-at-all", hook)[0] == 401
        assert sidecar.ask("POST", "/hooks", TOKEN, "{")[0] == 400

        _, page = sidecar.get("/api/v1/sessions", TOKEN)
        _, entries = sidecar.get(f"/api/v1/sessions/{session_id}/entries", TOKEN)
        _, metrics = sidecar.get("/metrics", TOKEN)
    assert [(row["session_id"], row["entries"]) for row in page["items"]] == [(session_id, 1)]
    assert [entry["raw"] for entry in entries["items"]] == [line]
    for counted in (
        'lucid_hook_requests_total{event="PreToolUse",result="quiet"} 1.0',
        'lucid_hook_requests_total{event="PreToolUse",result="repeated"} 1.0',
        'lucid_hook_requests_total{event="PreToolUse",result="unknown_session"} 4.0',
        'lucid_http_requests_total{area="hooks",code="200"} 6.0',
        'lucid_http_requests_total{area="hooks",code="400"} 1.0',
        'lucid_http_requests_total{area="hooks",code="401"} 1.0',
    ):
        assert counted in metrics


def test_a_given_token_opens_other_addresses(environment: Environment, tmp_path: Path) -> None:
    given = {**environment, "LUCID_TOKEN": TOKEN, "LUCID_LISTEN": "0.0.0.0:0"}
    with started(given, "sidecar", str(tmp_path)) as sidecar:
        assert "token: LUCID_TOKEN" in sidecar.said
        assert TOKEN not in "".join(sidecar.said)
        assert sidecar.get("/api/v1/sessions", TOKEN)[0] == 200
        assert sidecar.get("/api/v1/sessions", TOKEN[:-1])[0] == 401


def test_a_worker_shows_its_health_and_metrics_and_nothing_else(environment: Environment) -> None:
    signed_in = {**environment, "ANTHROPIC_API_KEY": "none"}
    arguments = ("worker", "--listen=127.0.0.1:0", "--open-metrics")
    with started(signed_in, *arguments) as worker:
        assert worker.get("/healthz")[0] == 200
        assert worker.get("/readyz") == (200, {"ready": True, "reasons": []})
        assert "lucid_build_info{" in worker.get("/metrics")[1]
        assert worker.get("/api/v1/sessions")[0] == 401

        code, _ = worker.end(signal.SIGTERM)

    assert code == 0
