"""What is missing before an agent can start is said in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from claude_agent_sdk import ClaudeAgentOptions

from supervisor.cli import preflight as module
from supervisor.cli.preflight import MINIMUM_CLI, preflight
from supervisor.errors import SupervisorError

pytestmark = pytest.mark.anyio

Cli = Callable[[str], ClaudeAgentOptions]


@pytest.fixture(autouse=True)
def signed_in(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in module._SIGN_INS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ANTHROPIC_API_KEY", "a key")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CLAUDE_CONFIG_DIR", str(tmp_path / "home" / ".claude"))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def cli(tmp_path: Path) -> Cli:
    """A CLI that is a shell script."""

    def write(script: str) -> ClaudeAgentOptions:
        file = tmp_path / "claude"
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)
        return ClaudeAgentOptions(cli_path=file)

    return write


async def refusal(options: ClaudeAgentOptions) -> str:
    with pytest.raises(SupervisorError) as caught:
        await preflight(options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


async def test_the_bundled_cli_will_do() -> None:
    await preflight(ClaudeAgentOptions())


async def test_the_oldest_that_will_do_and_the_newest_that_will_not(cli: Cli) -> None:
    assert MINIMUM_CLI == (2, 1, 97)
    await preflight(cli("echo '2.1.97 (Claude Code)'"))

    said = await refusal(cli("echo '2.1.96 (Claude Code)'"))

    assert "Claude Code 2.1.96 at" in said
    assert "2.1.97 or newer with 'claude update'" in said


async def test_a_cli_that_is_not_there(tmp_path: Path) -> None:
    said = await refusal(ClaudeAgentOptions(cli_path=tmp_path / "nothing"))

    assert f"not found at {tmp_path / 'nothing'}: install it with 'npm install" in said


async def test_without_a_bundled_cli_it_is_looked_for_where_the_sdk_looks(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.claude_agent_sdk, "__file__", str(tmp_path / "sdk" / "init.py"))
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    assert "was not found: install it" in await refusal(ClaudeAgentOptions())

    places = tmp_path / "home" / ".local" / "bin"
    places.mkdir(parents=True)
    cli("echo 2.1.400")
    (tmp_path / "claude").rename(places / "claude")
    await preflight(ClaudeAgentOptions())


@pytest.mark.parametrize("script", ["echo something else", "exit 1"])
async def test_a_program_that_is_no_cli(cli: Cli, script: str) -> None:
    assert "names no version: it is not Claude Code" in await refusal(cli(script))


async def test_a_file_that_cannot_be_run(cli: Cli, tmp_path: Path) -> None:
    options = cli("")
    (tmp_path / "claude").write_text("#!/no/such/shell\n")

    assert "cannot be run: No such file or directory" in await refusal(options)


async def test_no_way_to_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")

    said = await refusal(ClaudeAgentOptions())

    assert all(word in said for word in ("ANTHROPIC_API_KEY", "claude login", "ANTHROPIC_BASE_URL"))


@pytest.mark.parametrize("name", module._SIGN_INS)
async def test_every_way_to_sign_in_by_the_environment(
    monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    monkeypatch.setenv(name, "1")

    await preflight(ClaudeAgentOptions())


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("home/.claude/.credentials.json", "{}"),
        ("home/.claude/settings.json", '{"apiKeyHelper": "/bin/key"}'),
        ("home/.claude/.claude.json", '{"primaryApiKey": "..."}'),
        (".claude/settings.local.json", '{"env": {"ANTHROPIC_AUTH_TOKEN": "..."}}'),
    ],
)
async def test_every_way_to_sign_in_by_a_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, file: str, text: str
) -> None:
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(text)

    await preflight(ClaudeAgentOptions())
