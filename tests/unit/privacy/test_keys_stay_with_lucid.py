"""An agent's process is started without what is Lucid's alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from claude_agent_sdk import ClaudeAgentOptions
from pydantic import SecretStr

from supervisor.errors import SupervisorError
from supervisor.privacy.keyring import VARIABLE
from supervisor.runtime import keeper
from supervisor.runtime.keeper_process import OURS_ALONE
from supervisor.settings import Settings

_ASKS = """
from supervisor.runtime import keeper_process
print(sorted(name.decode() for name in keeper_process._environment()))
"""

GIVEN = {
    "LUCID_STORE": "postgresql://lucid:secret@db/lucid",
    "LUCID_STORE_KEY": "k",
    "LUCID_TOKEN": "t",
    "PATH": "/bin",
}


def test_what_is_lucids_alone_is_not_in_the_agents_environment() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _ASKS], env=GIVEN, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['PATH']"


def test_nor_is_it_where_the_agent_cannot_be_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def cannot(cli: str, worker: int) -> None:
        raise SupervisorError("no folder to run a script from")

    monkeypatch.setattr(keeper, "_launcher", cannot)
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("LUCID_TOKEN")

    options = keeper.kept(ClaudeAgentOptions(env={"LUCID_STORE": "mine", "OTHER": "o"}))

    # As the SDK does it: its own environment, and the options' over that.
    passed_on = {**os.environ, **options.env}
    assert not any(passed_on.get(os.fsdecode(name)) for name in OURS_ALONE)
    assert (options.env["OTHER"], "LUCID_TOKEN" in options.env) == ("o", False)


def test_every_secret_of_the_settings_is_known_as_one() -> None:
    secrets = [
        f"LUCID_{name}".upper()
        for name, field in Settings.model_fields.items()
        if SecretStr in getattr(field.annotation, "__args__", (field.annotation,))
    ]
    assert secrets
    assert {*secrets, VARIABLE, "LUCID_STORE"} == {os.fsdecode(name) for name in OURS_ALONE}
