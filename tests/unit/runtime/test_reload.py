"""A policy's files may change while it is in use; one with faults changes nothing."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest
from prometheus_client import REGISTRY

from supervisor.policy.load import read_policy
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.reload import PolicyWatch, StandingPolicy

pytestmark = pytest.mark.anyio

BASE = "version: 1\nrules:\n  - {{name: loops, on: loop, ladder: [{}]}}\n"


class Watched:
    """A policy in a folder, what was taken over of it and what was refused."""

    def __init__(self, folder: Path) -> None:
        self.base, self.own = folder / "base.yaml", folder / "own.yaml"
        self.base.write_text(BASE.format("nudge"))
        self.own.write_text("version: 1\ninclude: base.yaml\n")
        self.taken: list[Policy] = []
        self.refused: list[str] = []
        self._age = 0
        loaded = read_policy(self.own, detectors=registry.detectors(), actions=registry.actions())
        self.watch = PolicyWatch(loaded, self._take, self._refuse)

    async def _take(self, policy: Policy) -> None:
        self.taken.append(policy)

    async def _refuse(self, said: str) -> None:
        self.refused.append(said)

    def write(self, file: Path, text: str) -> None:
        file.write_text(text)
        # Two writes within one tick of the file system's clock look alike.
        self._age += 1
        os.utime(file, (self._age, self._age))


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def failures() -> float:
    return REGISTRY.get_sample_value("lucid_policy_reload_failures_total") or 0.0


def stands_refused() -> bool:
    return REGISTRY.get_sample_value("lucid_policy_last_reload_successful") == 0


def last_success() -> float:
    name = "lucid_policy_last_reload_success_timestamp_seconds"
    return REGISTRY.get_sample_value(name) or 0.0


async def test_nothing_is_read_while_nothing_changes(watched: Watched) -> None:
    assert not await watched.watch.look()
    assert watched.taken == []


async def test_a_change_of_an_included_file_is_taken_over(watched: Watched) -> None:
    before = last_success()
    watched.write(watched.base, BASE.format("correct"))

    assert await watched.watch.look()
    assert [policy.rules[0].ladder[0].action for policy in watched.taken] == ["correct"]
    assert last_success() > before
    assert not await watched.watch.look()


async def test_a_file_with_faults_keeps_the_old_policy_and_is_loud_once(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    before = failures()
    watched.write(watched.base, BASE.format("nugde"))

    with caplog.at_level(logging.ERROR, "supervisor.runtime.reload"):
        assert not await watched.watch.look()
        assert not await watched.watch.look()

    assert watched.taken == []
    assert failures() == before + 1
    [said] = watched.refused
    assert said.startswith("the changed policy is refused, the one before stays in use: ")
    assert "unknown action 'nugde'; did you mean 'nudge'?" in said
    assert said in caplog.text


async def test_once_it_is_mended_it_is_taken_over(watched: Watched) -> None:
    watched.base.unlink()
    await watched.watch.look()
    watched.write(watched.base, BASE.format("correct"))

    assert await watched.watch.look()
    assert len(watched.refused) == 1


async def test_a_file_that_says_the_same_again_changes_nothing(watched: Watched) -> None:
    watched.write(watched.own, "version: 1\n# now with a comment\ninclude: base.yaml\n")

    assert not await watched.watch.look()
    assert watched.taken == []


async def test_sessions_begin_under_what_a_file_says_now_or_said_last_without_faults(
    tmp_path: Path,
) -> None:
    file, before = tmp_path / "p.yaml", failures()
    file.write_text(BASE.format("nudge"))
    standing = StandingPolicy(file)

    file.write_text(BASE.format("nugde"))
    kept = await standing.newest()
    assert stands_refused()
    file.write_text(BASE.format("correct"))
    changed = await standing.newest()
    assert not stands_refused()

    assert [one.policy.rules[0].ladder[0].action for one in (kept, changed)] == ["nudge", "correct"]
    assert failures() == before + 1


async def test_a_policy_that_changed_before_it_was_watched_is_noticed(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(BASE.format("nudge"))
    loaded = read_policy(file, detectors=registry.detectors(), actions=registry.actions())
    file.write_text(BASE.format("correct"))
    taken: list[Policy] = []

    async def take(policy: Policy) -> None:
        taken.append(policy)

    async def refuse(said: str) -> None:
        raise AssertionError(said)

    assert await PolicyWatch(loaded, take, refuse).look()
    assert [policy.rules[0].ladder[0].action for policy in taken] == ["correct"]


async def test_a_mounted_policy_is_noticed_when_a_cluster_swaps_it(tmp_path: Path) -> None:
    """A ConfigMap's files are links into a folder that is put in another's place."""
    for version, action in (("..1", "nudge"), ("..2", "correct")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "p.yaml").write_text(BASE.format(action))
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "p.yaml").symlink_to("..data/p.yaml")
    plugins = {"detectors": registry.detectors(), "actions": registry.actions()}
    taken: list[Policy] = []

    async def take(policy: Policy) -> None:
        taken.append(policy)

    async def refuse(said: str) -> None:
        raise AssertionError(said)

    watch = PolicyWatch(read_policy(tmp_path / "p.yaml", **plugins), take, refuse)
    assert not await watch.look()
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").rename(tmp_path / "..data")
    (tmp_path / "..1" / "p.yaml").unlink()
    assert await watch.look()
    assert [policy.rules[0].ladder[0].action for policy in taken] == ["correct"]
