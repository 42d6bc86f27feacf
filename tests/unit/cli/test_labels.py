"""`--label`: what a session is labelled with goes with it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from supervisor.runtime.submission import Submission
from supervisor.store.sqlite import SqliteStore
from tests.unit.cli.conftest import Lucid


async def labels_of(path: Path) -> list[dict[str, str]]:
    async with SqliteStore(path) as store:
        asked = [Submission.of(row) for row in await store.sessions()]
        return [one.labels for one in asked if one is not None]


def test_labels_are_kept_with_the_session(lucid: Lucid, tmp_path: Path) -> None:
    path = tmp_path / "queue.db"

    ran = lucid(
        "submit", "Work.", "--label", "team=payments", "--label", "tier=a=b", "--store", str(path)
    )

    assert ran.exit_code == 0, ran.stderr
    assert asyncio.run(labels_of(path)) == [{"team": "payments", "tier": "a=b"}]


def test_a_label_without_a_value_is_refused(lucid: Lucid) -> None:
    ran = lucid("submit", "Work.", "--label", "team")

    assert ran.exit_code == 2
    assert "must be such as team=payments, not 'team'" in ran.stderr


def test_labels_given_again_replace_the_old_ones() -> None:
    old = Submission(model="m", labels={"team": "a"})

    assert old.changed_by(Submission()).labels == {"team": "a"}
    assert old.changed_by(Submission(labels={"team": "b"})) == Submission(
        model="m", labels={"team": "b"}
    )
