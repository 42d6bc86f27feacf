"""The command line before any work: help, hints, faults, and how little it imports."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from supervisor.cli.commands import lucid as commands
from supervisor.cli.exits import MEANINGS, Exit, exit_of
from supervisor.core.session import SessionState
from tests.unit.cli.conftest import Lucid

README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
HEAVY = ("anthropic", "claude_agent_sdk", "mcp", "msgspec", "numpy", "pydantic", "rich", "sklearn")


def names() -> list[str]:
    """Every command, the policy commands included."""
    context = click.Context(commands)
    group = commands.get_command(context, "policy")
    assert isinstance(group, click.Group)
    return [*commands.list_commands(context), *(f"policy {name}" for name in group.commands)]


@pytest.mark.parametrize("name", names())
def test_every_command_explains_itself_and_each_of_its_options(lucid: Lucid, name: str) -> None:
    ran = lucid(*name.split(), "--help")

    assert (ran.exit_code, ran.stderr) == (0, "")
    command: click.Command | None = commands
    for part in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), part)
    assert command is not None
    assert command.help
    assert all(option.help for option in command.params if isinstance(option, click.Option))
    # One column of help for two of names: nothing so long that it tears the page.
    assert max(map(len, ran.stdout.splitlines())) <= 80


def test_every_command_is_in_the_readme() -> None:
    missing = [name for name in names() if name != "policy" and f"`lucid {name}" not in README]

    assert not missing


def test_without_a_command_the_help_is_shown(lucid: Lucid) -> None:
    bare, asked = lucid(), lucid("--help")

    assert (bare.exit_code, asked.exit_code) == (2, 0)
    assert bare.stderr == asked.stdout
    assert all(f"\n  {name} " in asked.stdout for name in ("run", "sessions", "demo"))


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["polcy"], "No such command 'polcy'. Did you mean 'policy'?"),
        (["policy", "chek"], "No such command 'chek'"),
        (["run", "--polcy", "x"], "No such option '--polcy'. Did you mean '--policy'?"),
        (["run"], "Missing argument 'OBJECTIVE'"),
        (["run", "x", "--permission-mode", "all"], "'all' is not one of 'default', 'acceptEdits'"),
        (["run", "x", "--max-turns", "0"], "0 is not in the range x>=1"),
        (["run", "x", "--cwd", "nowhere"], "'nowhere' does not exist"),
        (["scan", "nowhere"], "'nowhere' does not exist"),
    ],
)
def test_a_wrong_command_line_is_said_with_what_to_write(
    lucid: Lucid, arguments: list[str], hint: str
) -> None:
    ran = lucid(*arguments)

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert hint in ran.stderr.replace("\n", " ")


def test_policy_check_tells_rules_and_ladders(lucid: Lucid) -> None:
    ran = lucid("policy", "check", "default")

    first, *rest = ran.stdout.splitlines()
    assert (ran.exit_code, first) == (0, "default: fine, mode act")
    ladder = "nudge -> rollback -> correct -> escalate -> abort"
    assert f"  break loops: on loop (confidence >= 0.8): {ladder}" in rest
    assert "  ride out interruptions: on interruption: resume -> escalate" in rest


def test_policy_check_tells_every_fault_and_its_place(lucid: Lucid, fixtures: Path) -> None:
    bad = fixtures / "policies" / "bad" / "unknown-keys.yaml"

    ran = lucid("policy", "check", str(bad))

    *faults, last = ran.stderr.splitlines()
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert len(faults) == len(bad.with_suffix(".txt").read_text().splitlines())
    assert all(re.match(rf"{re.escape(str(bad))}:\d+:\d+: \S+: ", fault) for fault in faults)
    assert last == f"lucid: {len(faults)} faults in the policy, nothing done"


def test_a_faulty_setting_is_named(lucid: Lucid, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_METRICS_PORT", "many")

    ran = lucid("run", "Say hello.")

    assert ran.exit_code == 2
    assert ran.stderr.startswith("lucid: settings (LUCID_* in the environment")
    assert "metrics_port: Input should be a valid integer" in ran.stderr


# Exit codes


def test_every_end_of_a_session_has_its_exit_code() -> None:
    codes = {state: exit_of(state) for state in SessionState}

    assert codes.pop(SessionState.REACHED) == 0
    assert codes.pop(SessionState.GAVE_UP) == 1
    assert codes.pop(SessionState.ABORTED) == 3
    assert codes.pop(SessionState.PAUSED) == 6
    assert codes.pop(SessionState.RUNNING) == 75
    assert set(codes.values()) == {4}


def test_exit_codes_are_told_in_the_help_and_the_readme(lucid: Lucid) -> None:
    told = lucid("run", "--help").stdout

    for code, meaning in MEANINGS.items():
        assert f"  {code.value:<4} {meaning}\n" in told
        assert f"| {code.value} | {meaning} |\n" in README
    assert all(str(code.value) in told for code in Exit)


# How it starts


def test_help_imports_nothing_that_takes_long() -> None:
    script = (
        "import sys\n"
        "from supervisor.cli.commands import lucid\n"
        "lucid(['--help'], standalone_mode=False)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout.splitlines()[-1] == "[]"


def test_who_only_submits_does_not_wait_for_the_sdk(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from supervisor.cli.commands import lucid\n"
        "try:\n"
        f"    lucid(['submit', 'Do it.', '--store', {str(tmp_path / 'lucid.db')!r}])\n"
        "finally:\n"
        "    print([name for name in ('aiohttp', 'claude_agent_sdk') if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )

    assert ran.stdout.splitlines()[-1] == "[]"


def test_a_narrow_locale_does_not_break_the_output(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "supervisor.cli", "show", "日本"],
        env={"PYTHONIOENCODING": "latin-1", "LUCID_STORE": str(tmp_path / "lucid.db")},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == 2
    assert ran.stderr == ("lucid: there is no session '\\u65e5\\u672c'; the store holds none yet\n")


def test_supervisord_in_the_same_place_is_told_apart(tmp_path: Path) -> None:
    package = tmp_path / "supervisor" / "cli"
    package.mkdir(parents=True)
    source = Path(sys.modules["supervisor.cli"].__file__ or "")
    (package / "__init__.py").write_text(source.read_text())
    (package.parent / "__init__.py").touch()
    (package.parent / "supervisord.py").touch()

    ran = subprocess.run(
        [sys.executable, "-c", "from supervisor.cli import main; main()"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert ran.returncode == 1
    assert "supervisord" in ran.stderr
    assert "Traceback" not in ran.stderr
