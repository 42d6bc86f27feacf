"""The scripted model from a shell."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

from click.testing import CliRunner

from supervisor.testing.__main__ import main


def test_it_prints_the_environment_serves_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    home, work = tmp_path / "home", tmp_path / "work"
    command = [sys.executable, "-m", "supervisor.testing", "stuck-then-phantom"]
    with subprocess.Popen(
        [*command, "--home", str(home), "--prepare", str(work)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("export CLAUDE_CONFIG_DIR"):
                break
        base_url = next(
            line.split("=", 1)[1] for line in lines if line.startswith("export ANTHROPIC_BASE_URL")
        )
        body = b'{"model": "m", "messages": [{"role": "user", "content": "Hi."}]}'
        with urllib.request.urlopen(f"{base_url}/v1/messages", data=body) as response:
            assert response.status == 200
        for line in process.stdout:
            lines.append(line.rstrip("\n"))
            if line.startswith("# request"):
                break
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=10)

    assert lines[0].startswith(f"# {base_url} plays: Is to find out why a build failed.")
    assert lines[1].startswith("# objective: Last night's build failed.")
    assert f"export HOME={home}" in lines
    assert lines[-1] == "# request 1: looks around"
    assert (work / "build.log").exists()
    assert complaints == "stopped\n"


def test_a_faulty_scenario_is_one_clear_error(scenarios: Path) -> None:
    result = CliRunner().invoke(main, [str(scenarios / "repeated-name.yaml")])

    assert result.exit_code == 1
    assert result.output == (
        f"Error: {scenarios / 'repeated-name.yaml'}: scenario: "
        "names of replies must be unique: twice\n"
    )
