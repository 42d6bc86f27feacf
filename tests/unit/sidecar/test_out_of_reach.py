"""What a sidecar cannot do of its policy is said in one line, at the start and after a reload."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from supervisor.policy.load import Loaded, parse_policy, read_policy
from supervisor.runtime import registry
from supervisor.settings import Settings
from supervisor.sidecar.sidecar import Sidecar
from supervisor.store.interface import Store
from tests.unit.sidecar.bare_agent import until

pytestmark = pytest.mark.anyio

WITHIN_REACH = "version: 1\nrules: [{name: r, on: loop, ladder: [nudge]}]\n"


def beside(store: Store, projects: Path, policy: Loaded) -> Sidecar:
    return Sidecar(store=store, folders=[projects], policy=policy, settings=Settings())


def shipped() -> Loaded:
    return read_policy("default", detectors=registry.detectors(), actions=registry.actions())


def within_reach() -> Loaded:
    return Loaded(
        parse_policy(
            WITHIN_REACH, "p.yaml", detectors=registry.detectors(), actions=registry.actions()
        ),
        (),
    )


def said(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "supervisor.sidecar.sidecar" and record.levelno == level
    ]


async def test_the_shipped_policy_is_one_line_and_no_warning(
    store: Store, projects: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with beside(store, projects, shipped()):
        pass

    (line,) = said(caplog, logging.INFO)
    assert "resume, rollback, mask_results, compact;" in line
    assert "lucid adopt SESSION" in line
    assert said(caplog, logging.WARNING) == []
    assert any("rule 'break loops', rung 2" in one for one in said(caplog, logging.DEBUG))


async def test_nothing_is_said_of_a_policy_that_is_within_reach(
    store: Store, projects: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with beside(store, projects, within_reach()):
        pass

    assert said(caplog, logging.INFO) == said(caplog, logging.DEBUG) == []


async def test_a_policy_that_comes_later_is_looked_at_too(
    store: Store, projects: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(WITHIN_REACH)
    policy = read_policy(str(file), detectors=registry.detectors(), actions=registry.actions())
    caplog.set_level(logging.INFO)
    async with beside(store, projects, policy):
        file.write_text(WITHIN_REACH.replace("nudge", "nudge, rollback"))
        await until(lambda: bool(said(caplog, logging.INFO)))

    assert "passed over: rollback;" in said(caplog, logging.INFO)[0]
