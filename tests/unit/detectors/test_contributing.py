"""`CONTRIBUTING.md`: what it shows works."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

from supervisor.core.detector import Detector
from supervisor.testing.fixtures import check_detector

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(
    re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
)
MODULE = "asks_leave"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The files of the page, in their places."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_the_detector_shown_conforms(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = project / "detectors" / f"{MODULE}.py"
    spec = importlib.util.spec_from_file_location(MODULE, source)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, MODULE, module)
    spec.loader.exec_module(module)

    kind: type[Detector] = module.AsksLeave
    assert check_detector(kind, project / "tests" / "fixtures" / "detectors" / MODULE) == []


def test_the_detector_shown_is_clean(project: Path) -> None:
    config = f"--config={ROOT / 'pyproject.toml'}"
    for command in (["check", "--no-cache"], ["format", "--check", "--no-cache"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, config, "detectors"],
            cwd=project,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout


def test_the_example_is_one_file_and_one_folder() -> None:
    folders = {Path(name).parent.as_posix() for name in FILES}
    assert folders == {"detectors", f"tests/fixtures/detectors/{MODULE}"}


def test_the_files_it_names_exist() -> None:
    text = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    named = set(re.findall(r"`((?:tests|recovery|detectors|supervisor)/[\w/.]+)`", text)) - set(
        FILES
    )
    assert {name for name in named if not (ROOT / name).exists()} == set()
