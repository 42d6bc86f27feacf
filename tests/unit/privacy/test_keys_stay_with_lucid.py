"""An agent's process is started without what is Lucid's alone."""

from __future__ import annotations

import subprocess
import sys

_ASKS = """
from supervisor.runtime import keeper_process
print(sorted(name.decode() for name in keeper_process._environment()))
"""


def test_the_stores_key_is_not_in_the_agents_environment() -> None:
    given = {"LUCID_STORE_KEY": "k", "LUCID_TOKEN": "t", "LUCID_STORE": "s", "PATH": "/bin"}
    done = subprocess.run(
        [sys.executable, "-c", _ASKS], env=given, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "['LUCID_STORE', 'PATH']"
