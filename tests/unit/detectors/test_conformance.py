"""What every detector has to do, those that do not exist yet included.

Detectors are found as the runtime finds them; a new one needs no line here.
"""

from __future__ import annotations

import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.core.detector import Detector
from supervisor.runtime.registry import detectors
from supervisor.testing.fixtures import CHECKS

FIXTURES = Path(__file__).parents[2] / "fixtures" / "detectors"
SHIPPED = {
    name: kind for name, kind in detectors().items() if kind.__module__ == f"detectors.{name}"
}

VERDICTS = """
import sys
from pathlib import Path
import msgspec
from supervisor.runtime.registry import detectors
from supervisor.testing.fixtures import read_fixture, verdicts_of
for path in sorted(Path(sys.argv[1]).glob("*/*.jsonl")):
    kind = detectors()[path.parent.name]
    fixture = read_fixture(path)
    found = verdicts_of(fixture.detector(kind), fixture.entries)
    print(path.name, msgspec.json.encode(found))
"""


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", SHIPPED)
def test_detector(name: str, check: str) -> None:
    assert list(CHECKS[check](SHIPPED[name], FIXTURES / name)) == []


def test_every_module_of_the_package_holds_one_detector_of_its_name() -> None:
    folder = Path(sys.modules["detectors"].__file__ or "").parent
    modules = {info.name for info in pkgutil.iter_modules([str(folder)])}
    assert {name for name in modules if not name.startswith("_")} == set(SHIPPED)


def test_every_folder_of_fixtures_belongs_to_a_detector() -> None:
    assert {path.name for path in FIXTURES.iterdir()} == set(SHIPPED)


def test_every_name_is_snake_case() -> None:
    assert [name for name in SHIPPED if not re.fullmatch(r"[a-z][a-z0-9_]*", name)] == []


def test_another_process_finds_the_same() -> None:
    """Replay happens in another process, whose `hash()` differs."""
    said = [
        subprocess.run(
            [sys.executable, "-c", VERDICTS, str(FIXTURES)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1]
    assert b"confidence" in said[0]


@pytest.mark.parametrize("kind", SHIPPED.values(), ids=SHIPPED)
def test_two_detectors_share_no_configuration_class(kind: type[Detector]) -> None:
    assert [other for other in SHIPPED.values() if other.Config is kind.Config] == [kind]
