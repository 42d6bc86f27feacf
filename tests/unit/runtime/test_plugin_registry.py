"""Which detectors and actions there are: Lucid's own, and other distributions'."""

from __future__ import annotations

import logging
import pkgutil
from pathlib import Path

import pytest

import detectors
import recovery
from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.runtime import registry
from tests.unit.runtime.conftest import Install
from tests.unit.runtime.plugins import Marker, Wave

THEIRS = "tests.unit.runtime.plugins"


def modules_of(package: object) -> set[str]:
    """Their names; parts that several share begin with an underscore."""
    path = package.__path__  # type: ignore[attr-defined] # a package has one
    return {info.name for info in pkgutil.iter_modules(path) if not info.name.startswith("_")}


def test_every_file_of_lucids_own_is_a_plugin_of_its_name() -> None:
    found, acting = registry.detectors(), registry.actions()

    assert modules_of(detectors) <= set(found)
    assert modules_of(recovery) <= set(acting)
    assert {"loop", "hallucinated_tool"} <= set(found)
    assert {"nudge", "correct", "rollback", "abort"} <= set(acting)
    assert all(name == plugin.name for name, plugin in found.items())
    assert all(issubclass(plugin, Detector) for plugin in found.values())
    assert all(issubclass(plugin, Action) for plugin in acting.values())


def test_plugins_of_another_distribution_are_found(install: Install) -> None:
    install(detectors=[f"marker = {THEIRS}:Marker"], actions=[f"wave = {THEIRS}:Wave"])

    assert registry.detectors()["marker"] is Marker
    assert registry.actions()["wave"] is Wave
    assert "loop" in registry.detectors()
    assert "marker" not in registry.actions()


@pytest.mark.parametrize(
    ("group", "point", "reason"),
    [
        ("detectors", f"{THEIRS}.absent:Marker", "cannot be imported"),
        ("detectors", f"{THEIRS}:Absent", "cannot be imported"),
        ("detectors", f"{THEIRS}:NOT_A_CLASS", "not a class that implements Detector"),
        ("detectors", f"{THEIRS}:Wave", "not a class that implements Detector"),
        ("detectors", f"{THEIRS}:Modeless", "not a class that implements Detector"),
        ("actions", f"{THEIRS}:Marker", "not a class that implements Action"),
        ("actions", f"{THEIRS}:Needless", "not a class that implements Action"),
        ("actions", "supervisor.core.action:Action", "not a class that implements Action"),
        ("detectors", f"{THEIRS}:Usurper", "the name 'loop' is already taken by detectors.loop"),
    ],
)
def test_a_plugin_that_cannot_be_used_is_left_out_and_said(
    install: Install, caplog: pytest.LogCaptureFixture, group: str, point: str, reason: str
) -> None:
    before = {"detectors": registry.detectors(), "actions": registry.actions()}
    good = {"detectors": f"marker = {THEIRS}:Marker", "actions": f"wave = {THEIRS}:Wave"}
    install(**{group: [f"theirs = {point}", good[group]]})

    with caplog.at_level(logging.ERROR, logger="supervisor.runtime.registry"):
        found = {"detectors": registry.detectors(), "actions": registry.actions()}

    added = {"detectors": "marker", "actions": "wave"}[group]
    assert set(found[group]) == {*before[group], added}
    assert found["detectors"]["loop"] is before["detectors"]["loop"]
    said = [record.getMessage() for record in caplog.records if point in record.getMessage()]
    assert len(said) == 1
    assert "left out" in said[0]
    assert reason in said[0]


def test_a_plugin_whose_import_fails_does_not_hide_the_others(
    install: Install, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    install(detectors=["a = lucid_broken_plugin:Any", f"b = {THEIRS}:Marker"])
    (tmp_path / "their-plugins" / "lucid_broken_plugin.py").write_text("raise RuntimeError('no')\n")

    assert "marker" in registry.detectors()
    (record,) = caplog.records
    assert record.exc_info is not None, "the traceback is in the log"


def test_of_two_distributions_with_one_name_one_counts(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    install("first-plugins", detectors=[f"a = {THEIRS}:Marker"])
    install("second-plugins", detectors=[f"b = {THEIRS}:Marker"])

    assert registry.detectors()["marker"] is Marker
    (said,) = [record.getMessage() for record in caplog.records]
    assert "(second-plugins) is left out" in said
