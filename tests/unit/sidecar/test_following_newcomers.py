"""A session that begins waits for none whose past is being read."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.sidecar import ground
from supervisor.store.interface import Store
from tests.unit.sidecar.bare_agent import BareAgent, following, until_stored

pytestmark = pytest.mark.anyio


async def test_a_short_transcript_needs_no_turn(
    store: Store, projects: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ground, "_COMING", 0)
    agent = BareAgent(projects)
    async with following(store, projects):
        agent.prompt()
        await until_stored(store, agent)
        agent.loop(1)
        await until_stored(store, agent)
