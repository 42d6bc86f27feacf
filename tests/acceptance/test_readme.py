"""The README's code blocks do what they say: the real CLI on the scripted model."""

from __future__ import annotations

import ast
import asyncio
import inspect
import os
import re
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.testing import ScriptedModel

pytestmark = pytest.mark.anyio

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(program: str) -> list[list[str]]:
    """The arguments of every command line with that program, comments left out."""
    lines = (line for block in blocks("sh") for line in block.splitlines())
    split = (shlex.split(line, comments=True) for line in lines)
    return [words[1:] for words in split if words and words[0] == program]


@pytest.fixture
async def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[ScriptedModel]:
    """A model that this process and those it starts talk to, in a folder of their own."""
    async with ScriptedModel("hello") as model:
        for name, value in model.env(tmp_path / "home").items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("LUCID_STORE", str(tmp_path / "lucid.db"))
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.chdir(tmp_path)
        yield model
        assert not model.unmatched
        assert not model.refused


@pytest.mark.parametrize("block", blocks("python"))
async def test_python_runs(
    block: str, model: ScriptedModel, capsys: pytest.CaptureFixture[str]
) -> None:
    assert len([line for line in block.splitlines() if line]) <= 5

    code = compile(block, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    running = eval(code, {})  # the block is the project's own
    assert inspect.iscoroutine(running)
    await running

    assert "Hello. There is nothing else to do." in capsys.readouterr().out
    assert len(model.requests) == 1


def test_the_policys_rules_are_the_default_ones(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    (tmp_path / "policy.yaml").write_text(block)

    shown, default = (
        load_policy(source, detectors=registry.detectors(), actions=registry.actions())
        for source in (tmp_path / "policy.yaml", "default")
    )
    assert shown.limits == default.limits
    assert set(map(str, shown.rules)) <= set(map(str, default.rules))


async def test_commands_run(model: ScriptedModel, tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(blocks("yaml")[0])
    session = ""
    for arguments in commands("lucid"):
        if arguments[0] in {"sidecar", "hooks"}:
            continue  # test_operate runs them, both at once
        given = [word if word != "SESSION" else session for word in arguments]
        ran = await lucid(given)
        assert (ran.returncode, ran.stderr) == (0, ""), given
        if given == ["sessions"]:
            session = ran.stdout.splitlines()[1].split()[0]
    assert session


async def lucid(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "supervisor.cli", *arguments],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={name: value for name, value in os.environ.items() if value},
        )

    return await asyncio.to_thread(run)


def test_make_knows_its_targets() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")

    asked = {target for arguments in commands("make") for target in arguments}
    assert {"demo", "test"} <= asked
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in asked)


def test_every_link_leads_somewhere() -> None:
    linked = [link for link in re.findall(r"\]\(([^)]+)\)", README) if "://" not in link]

    assert linked
    assert not [link for link in linked if not (ROOT / link.partition("#")[0]).exists()]


def test_the_picture_shows_the_demo_as_it_is() -> None:
    picture = (ROOT / "docs" / "demo.svg").read_text(encoding="utf-8")
    shown = re.sub(r"<[^>]+>", "", picture).replace("&#160;", " ")

    assert "cat build.log" in shown
    for done in ("nudge failed", "rollback cleared", "correct cleared"):
        assert done in shown
