"""`lucid hooks` and `lucid adopt`: what they do to files and processes, and what they refuse."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from supervisor.cli.commands import lucid
from supervisor.service.token import hooks_token

TOKEN = "a-token-of-the-tests"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A user's of their own."""
    for name in ("CLAUDE_CONFIG_DIR", "LUCID_LISTEN", "LUCID_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("LUCID_STORE", str(tmp_path / "lucid.db"))
    monkeypatch.setenv("LUCID_TOKEN", TOKEN)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(lucid, arguments)


@pytest.mark.usefixtures("home")
def test_the_settings_are_printed_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_LISTEN", "0.0.0.0:7400")
    printed = json.loads(run("hooks", "print", "--stop-timeout", "600").stdout)
    (group,) = printed["hooks"]["Stop"]
    (hook,) = group["hooks"]
    assert (hook["type"], hook["url"]) == ("http", "http://127.0.0.1:7400/hooks")
    assert hook["timeout"] == 600
    assert hook["headers"] == {
        "Lucid-Timeout": "600",
        "Authorization": f"Bearer {hooks_token(TOKEN)}",
    }


@pytest.mark.usefixtures("home")
def test_a_unix_socket_cannot_be_posted_to(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_LISTEN", "unix:/run/lucid.sock")
    refused = run("hooks", "print")
    assert refused.exit_code == 2
    assert "http:// and https:// addresses only" in refused.stderr
    assert run("hooks", "print", "--url", "http://h:1/hooks").exit_code == 0


def test_hooks_go_into_a_project_and_out_again(home: Path) -> None:
    project = home / "shop"
    settings = project / ".claude" / "settings.local.json"
    settings.parent.mkdir(parents=True)
    settings.write_text('{"model": "opus"}\n')
    done = run("hooks", "install", "--project", str(project))
    assert "were put into" in done.stdout
    assert "keep settings.local.json out of version control" in done.stderr
    assert hooks_token(TOKEN) in settings.read_text()
    assert TOKEN not in settings.read_text()
    assert "already" in run("hooks", "install", "--project", str(project)).stdout
    out = run("hooks", "install", "--project", str(project), "--uninstall")
    assert "were taken out" in out.stdout
    assert settings.read_text() == '{"model": "opus"}\n'


@pytest.mark.usefixtures("home")
def test_the_agents_token_is_printed_for_a_variable() -> None:
    assert run("hooks", "token").stdout.strip() == hooks_token(TOKEN)


def test_it_is_said_where_others_may_read_the_token(home: Path) -> None:
    settings = home / ".claude" / "settings.json"
    assert "others on this host" not in run("hooks", "install", "--user").stderr
    settings.chmod(0o644)

    assert "others on this host may read it" in run("hooks", "install", "--user").stderr


def test_hooks_go_into_the_users_settings_without_the_token(home: Path) -> None:
    done = run("hooks", "install", "--user", "--token-env", "LUCID_HOOKS")
    assert done.exit_code == 0, done.stderr
    assert TOKEN not in (home / ".claude" / "settings.json").read_text()


def test_a_project_whose_settings_lead_elsewhere_is_refused(home: Path) -> None:
    (home / ".claude").mkdir()
    users = home / ".claude" / "settings.json"
    users.write_text("{}")
    (home / "shop" / ".claude").mkdir(parents=True)
    (home / "shop" / ".claude" / "settings.local.json").symlink_to(users)
    refused = run("hooks", "install", "--project", str(home / "shop"))
    assert (refused.exit_code, users.read_text()) == (2, "{}")
    assert "leads out of the project" in refused.stderr


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize(
    "arguments",
    [
        ("install",),
        ("install", "--user", "--project", "."),
        ("print", "--token-env", "a b"),
        ("print", "--timeout", "0"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments: tuple[str, ...]) -> None:
    assert run("hooks", *arguments).exit_code == 2


@pytest.mark.usefixtures("home")
def test_what_is_not_in_the_store_is_not_adopted() -> None:
    refused = run("adopt", "nobody", "--yes")
    assert refused.exit_code == 2
    assert "nobody" in refused.stderr
