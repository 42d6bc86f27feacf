"""Lucid's hooks in an agent's settings: put in, taken out, and all else byte for byte."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from supervisor.errors import SupervisorError
from supervisor.sidecar.agent_settings import change, with_hooks, without_hooks
from supervisor.sidecar.snippet import EVENTS, hooks_for

HOOKS = hooks_for("http://127.0.0.1:7311/hooks", token="sesame")
THEIRS = '{"matcher": "Bash", "hooks": [{"type": "command", "command": "lint"}]}'

TEXTS = {
    "nothing": "{}",
    "two spaces": '{\n  "model": "opus",\n  "env": {"A":   "b"}\n}\n',
    "tabs, no newline at the end": '{\n\t"model": "opus"\n}',
    "four spaces, CRLF": '{\r\n    "model": "opus"\r\n}\r\n',
    "one line": '{"model": "opus", "permissions": {"deny": []}}',
    "hooks of theirs": f'{{\n  "hooks": {{\n    "PreToolUse": [{THEIRS}]\n  }},\n  "z": 1\n}}\n',
    "hooks first, odd spacing": f'{{ "hooks" : {{ "Stop":[ {THEIRS} ,{THEIRS}] }} , "z" : [1 ,2]}}',
    "characters": '{\n  "näme": "\\u00e9é \\"}",\n  "hooks": {"Other": []}\n}\n',
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_was_put_in_is_taken_out_again_and_nothing_else(text: str) -> None:
    put_in = with_hooks(text, HOOKS)
    settings, before = json.loads(put_in), json.loads(text)
    for event in EVENTS:
        groups = before.get("hooks", {}).get(event, [])
        assert settings["hooks"][event] == [*groups, HOOKS[event]]
    assert list(settings)[: len(before)] == list(before)
    assert without_hooks(put_in) == text


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_twice_is_as_good_as_once(text: str) -> None:
    once = with_hooks(text, HOOKS)
    assert with_hooks(once, HOOKS) == once
    other = hooks_for("http://127.0.0.1:1/hooks", token="other")
    assert with_hooks(with_hooks(text, other), HOOKS) == once
    assert without_hooks(text) == text


def test_it_is_set_as_the_rest_is() -> None:
    indented = with_hooks('{\n\t"model": "opus"\n}', HOOKS)
    assert '\n\t"hooks": {\n\t\t"PreToolUse": [\n\t\t\t{\n\t\t\t\t"hooks"' in indented
    assert "\n" not in with_hooks('{"model": "opus"}', HOOKS)
    assert "\n" not in with_hooks('{\r\n  "a": 1\r\n}', HOOKS).replace("\r\n", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{\n  "a": 1,\n}', "line 3, column 1"),
        ("// a comment\n{}", "line 1, column 1"),
        ("[]", "no JSON object"),
        ('{"hooks": []}', "'hooks' is no object of lists"),
        ('{"hooks": {"Stop": {}}}', "'hooks' is no object of lists"),
        ('{"a": 1, "a": 2}', "'a' stands there twice"),
        ("[" * 100_000, "nested too deep"),
    ],
)
def test_what_is_no_settings_file_is_left_alone(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "settings.json"
    path.write_text(text)
    with pytest.raises(SupervisorError, match=said):
        change(path, HOOKS)
    assert path.read_text() == text
    assert os.listdir(tmp_path) == ["settings.json"]


def test_a_file_that_is_not_there_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / ".claude" / "settings.json"
    assert change(path, HOOKS)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not change(path, HOOKS)
    assert change(path, None)
    assert (path.read_text(), change(path, None)) == ("{}\n", False)
    assert not change(tmp_path / "none.json", None)
    assert not (tmp_path / "none.json").exists()


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "dotfiles").mkdir()
    kept, path = tmp_path / "dotfiles" / "claude.json", tmp_path / "settings.json"
    kept.write_bytes(b"\xef\xbb\xbf{}")
    kept.chmod(0o640)
    path.symlink_to(kept)
    assert change(path, HOOKS)
    assert path.is_symlink()
    assert kept.stat().st_mode & 0o777 == 0o640
    assert kept.read_bytes().startswith(b"\xef\xbb\xbf{")


@pytest.mark.parametrize("target", ["nowhere.json", "settings.json"])
def test_a_link_that_leads_nowhere_is_refused(tmp_path: Path, target: str) -> None:
    path = tmp_path / "settings.json"
    path.symlink_to(tmp_path / target)
    with pytest.raises(SupervisorError, match="cannot be changed"):
        change(path, HOOKS)


def hook(event: str, **given: Any) -> dict[str, Any]:
    (found,) = hooks_for("http://h/hooks", **given)[event]["hooks"]
    assert isinstance(found, dict)
    return found


def test_the_token_may_be_left_to_the_agents_environment() -> None:
    found = hook("Stop", token_env="LUCID_HOOKS", stop_seconds=600)
    assert found["headers"]["Authorization"] == "Bearer $LUCID_HOOKS"
    assert found["allowedEnvVars"] == ["LUCID_HOOKS"]
    assert (found["timeout"], found["headers"]["Lucid-Timeout"]) == (600, "600")
    assert hook("PreToolUse", token="t")["timeout"] == 3
