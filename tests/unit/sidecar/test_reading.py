"""What many agents write in a moment is stored together, and each stands for itself."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from supervisor.store.interface import Addition, Store, StoredEntry
from supervisor.store.sqlite import SqliteStore
from tests.unit.sidecar.bare_agent import BareAgent, following, stored, until_stored

pytestmark = pytest.mark.anyio


class Counting(SqliteStore):
    """Counts the writes that it gets at once, and refuses some."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.groups: list[set[str]] = []
        self.refused = ""

    async def write_all(
        self, additions: Sequence[Addition]
    ) -> Sequence[list[StoredEntry] | Exception]:
        self.groups.append({addition.key["session_id"] for addition in additions})
        broken = [addition._replace(offsets=()) for addition in additions]
        ids = [addition.session_id for addition in additions]
        chosen = [
            bad if session_id == self.refused else good
            for good, bad, session_id in zip(additions, broken, ids, strict=True)
        ]
        return await super().write_all(chosen)


async def test_what_comes_together_is_stored_together(projects: Path, tmp_path: Path) -> None:
    agents = [BareAgent(projects) for _ in range(5)]
    async with Counting(tmp_path / "counted.db") as store, following(store, projects):
        for agent in agents:
            agent.prompt()
        for agent in agents:
            await until_stored(store, agent)
        for agent in agents:
            agent.loop(1)
        for agent in agents:
            await until_stored(store, agent)

        everybody = {agent.session_id for agent in agents}
        assert set().union(*store.groups) == everybody
        assert len(store.groups) < len(everybody)


async def test_one_that_is_refused_takes_no_other_with_it_and_goes_on_later(
    projects: Path, tmp_path: Path
) -> None:
    agents = [BareAgent(projects) for _ in range(3)]
    async with Counting(tmp_path / "counted.db") as store, following(store, projects):
        for agent in agents:
            agent.prompt()
        for agent in agents:
            await until_stored(store, agent)
        store.refused = agents[1].session_id
        for agent in agents:
            agent.loop(1)
        await until_stored(store, agents[0])
        await until_stored(store, agents[2])
        assert await stored(store, agents[1].session_id) == agents[1].lines[:1]
        store.refused = ""
        await until_stored(store, agents[1])


async def test_one_that_has_much_to_be_read_goes_its_own_way(store: Store, projects: Path) -> None:
    agent, other = BareAgent(projects), BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        other.prompt()
        await until_stored(store, agent)
        await until_stored(store, other)
        agent.loop(2_000)
        other.loop(1)
        await until_stored(store, other)
        await until_stored(store, agent)
