"""Helm, as far as it can be had: `helm` itself, or its library from helm-python-sdk."""

from __future__ import annotations

import importlib
import importlib.util
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.build import FOLDER

__all__ = ["lint", "render"]

CHART = FOLDER / "helm" / "lucid"
_WARNING = 2
"""Helm's number for it; below is information."""


def render(release: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """The chart's manifests; skips the test where nothing can render them."""
    helm = shutil.which("helm")
    text = _by_command(helm, release, values) if helm else _by_library(release, values)
    return [one for one in yaml.safe_load_all(text) if one]


def lint() -> list[str]:
    """What Helm finds wrong with the chart."""
    helm = shutil.which("helm")
    if helm is None:
        found = _library().lint(str(CHART), values={"agent": {"enabled": True}})
        faults = [one["error"] for one in found["messages"] if one["severity"] >= _WARNING]
        return [*faults, *map(str, found["errors"])]
    done = _run(helm, "lint", "--strict", str(CHART), "--set", "agent.enabled=true")
    return [] if done.returncode == 0 else [done.stdout + done.stderr]


def _by_command(helm: str, release: str, values: dict[str, Any]) -> str:
    given = (f"--set-json={key}={json.dumps(value)}" for key, value in values.items())
    done = _run(helm, "template", release, str(CHART), *given)
    if done.returncode:
        raise ValueError(done.stderr)
    return done.stdout


def _by_library(release: str, values: dict[str, Any]) -> str:
    helm = _library()
    with helm.Chart.load(str(CHART)) as chart:
        chart.validate_schema(values)
        return "\n---\n".join(chart.render(values, name=release, namespace="agents").values())


def _library() -> Any:
    if importlib.util.find_spec("helm_python") is None:
        pytest.skip("neither helm nor helm-python-sdk is there to render the chart")
    return importlib.import_module("helm_python")


def _run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
