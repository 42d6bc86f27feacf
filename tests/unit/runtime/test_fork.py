"""Forks: cut at a checkpoint, kept as one session, written where the CLI looks."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import (
    ClaudeAgentOptions,
    InMemorySessionStore,
    SessionKey,
    SessionStoreEntry,
)

from supervisor.core.checkpoint import Checkpoint
from supervisor.errors import ActionError
from supervisor.runtime.fork import fork_at, local_transcript
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import MAIN, PROJECT, Transcript, Watch, Watched

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker")]


@pytest.fixture
def told(transcript: Transcript) -> Transcript:
    """Four lines, of which the third completes a step."""
    transcript.prompt("Find the cause.")
    transcript.step("a", "the log", command="cat build.log")
    transcript.text("FAIL:one")
    return transcript


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


class Forking:
    """Forks the session of a supervision."""

    def __init__(self, watched: Watched, store: Store, config: Path) -> None:
        self.watched = watched
        self.store = store
        self.options = ClaudeAgentOptions(env={"CLAUDE_CONFIG_DIR": str(config)})

    async def _take(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        raws = [json.dumps(entry).encode() for entry in entries]
        await self.watched.supervision.take(key, raws)

    async def at(self, uuid: str, transcript: str = MAIN) -> str:
        checkpoint = Checkpoint(session_id="s", transcript=transcript, seq=3, uuid=uuid)
        return await fork_at(
            checkpoint,
            project_key=PROJECT,
            store=self.store,
            options=self.options,
            take=self._take,
        )


@pytest.fixture
async def forking(watch: Watch, store: Store, told: Transcript, config: Path) -> Forking:
    watched = watch()
    await watched.take(told)
    return Forking(watched, store, config)


def files_below(folder: Path) -> list[Path]:
    return list(folder.rglob("*"))


def occupy(place: Path) -> None:
    place.write_text("a file where a folder is needed")


def contents(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


async def test_a_fork_ends_at_the_checkpoint_and_is_a_file_of_the_clis(
    forking: Forking, told: Transcript, config: Path
) -> None:
    fork = await forking.at(told.uuid(3))

    path = config / "projects" / PROJECT / f"{fork}.jsonl"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    written = [entry for entry in contents(path) if entry["type"] in {"user", "assistant"}]
    assert [entry["message"]["content"] for entry in written] == [
        entry["message"]["content"] for entry in told.entries[:3]
    ]
    assert {entry["sessionId"] for entry in written} == {fork}
    assert {entry["forkedFrom"]["sessionId"] for entry in written} == {MAIN}
    assert fork != MAIN


async def test_the_forks_entries_are_the_sessions_and_are_not_judged_again(
    forking: Forking, told: Transcript, store: Store
) -> None:
    found = len(forking.watched.verdicts)
    fork = await forking.at(told.uuid(4))

    entries = [entry async for entry in store.entries("s", transcript=fork)]
    assert [entry.inherited for entry in entries if entry.uuid][:4] == [True] * 4
    assert entries[0].seq == 5
    assert len(forking.watched.verdicts) == found
    assert (await store.session(fork)).session_id == "s"


async def test_a_callers_store_keeps_the_fork_instead_of_a_file(
    forking: Forking, told: Transcript, config: Path
) -> None:
    forking.options.session_store = InMemorySessionStore()
    await forking.at(told.uuid(3))

    assert files_below(config) == []


BAD = {
    "an entry that is not there": {"uuid": "99999999-9999-4999-8999-999999999999"},
    "no uuid": {"uuid": "the third"},
    "another transcript": {
        "uuid": "99999999-9999-4999-8999-999999999999",
        "transcript": "99999999-9999-4999-8999-999999999999",
    },
    "no transcript": {
        "uuid": "99999999-9999-4999-8999-999999999999",
        "transcript": "../elsewhere",
    },
}


@pytest.mark.parametrize("name", BAD)
async def test_a_bad_checkpoint_is_an_error_that_names_the_entry(
    forking: Forking, config: Path, name: str
) -> None:
    with pytest.raises(ActionError, match="cannot fork at entry 3: "):
        await forking.at(**BAD[name])
    assert files_below(config) == []


async def test_a_folder_that_cannot_be_written_is_an_error(
    forking: Forking, told: Transcript, config: Path
) -> None:
    occupy(config)
    with pytest.raises(ActionError, match="cannot fork at entry 3: "):
        await forking.at(told.uuid(3))


@pytest.mark.parametrize(
    ("given", "process", "place"),
    [
        ({"CLAUDE_CONFIG_DIR": "/given"}, "/process", "/given/projects/p/s.jsonl"),
        ({}, "/process", "/process/projects/p/s.jsonl"),
        ({"CLAUDE_CONFIG_DIR": ""}, "/process", "/process/projects/p/s.jsonl"),
        ({}, None, "~/.claude/projects/p/s.jsonl"),
    ],
)
def test_a_transcript_lies_where_the_cli_keeps_it(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], process: str | None, place: str
) -> None:
    if process is None:
        monkeypatch.delenv("CLAUDE_CONFIG_DIR", raising=False)
    else:
        monkeypatch.setenv("CLAUDE_CONFIG_DIR", process)

    assert local_transcript("p", "s", given) == Path(place).expanduser()
