"""Checkpoints of files are taken in time, belong to a place, and are brought back from there."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.intent import Intent
from supervisor.errors import FilesError
from supervisor.files.model import Limits
from supervisor.runtime.filekeeping import FileKeeping
from supervisor.store.interface import Incident
from tests.unit.files.conftest import git, put, state, with_times
from tests.unit.runtime.conftest import Breaking, Transcript, Watch, Watched

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker")]


@pytest.fixture(autouse=True)
def _home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("XDG_CONFIG_HOME", "XDG_CACHE_HOME", "GIT_CONFIG_GLOBAL"):
        monkeypatch.delenv(name, raising=False)


@dataclass
class Session:
    """A session whose agent's calls are played by the test."""

    watched: Watched
    transcript: Transcript
    work: Path
    files: FileKeeping
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)

    async def prompt(self, text: str = "Go on.") -> Checkpoint:
        """The user says something; returns the place after it."""
        self.files.turn_began()
        return await self._read(self.transcript.prompt(text))

    async def call(
        self,
        call_id: str,
        does: Callable[[], object] = lambda: None,
        tool: str = "Bash",
        agent_id: str | None = None,
        **given: str,
    ) -> Checkpoint:
        """A tool call from beginning to end; returns the place after it."""
        await self.begin(call_id, tool, agent_id, **given)
        does()
        return await self.end(call_id, tool, agent_id, **given)

    async def begin(
        self, call_id: str, tool: str = "Bash", agent_id: str | None = None, **given: str
    ) -> None:
        intent = Intent(
            session_id="s",
            call_id=call_id,
            tool=tool,
            input=msgspec.Raw(json.dumps(given).encode()),
            agent_id=agent_id,
            at=self.now,
        )
        await self.watched.store.record(intent)
        await self.files.before(call_id, tool, agent_id)

    async def end(
        self, call_id: str, tool: str = "Bash", agent_id: str | None = None, **given: str
    ) -> Checkpoint:
        self.files.ended(call_id)
        transcript = self.transcript if agent_id is None else Transcript(agent_id=agent_id)
        call = transcript.call(call_id, tool, **given)
        return await self._read(call, transcript.result(call_id), transcript=transcript)

    async def _read(self, *lines: bytes, transcript: Transcript | None = None) -> Checkpoint:
        of = transcript or self.transcript
        await self.watched.take(of, *lines)
        return Checkpoint(
            session_id="s",
            transcript=of.sdk_session_id,
            seq=self.watched.supervision.seq,
            uuid=of.uuid(len(of.lines)),
        )

    def write(self, **files: str) -> None:
        put(self.work, files)

    @property
    def incidents(self) -> list[str]:
        return [event.message for event in self.watched.told if isinstance(event, Incident)]


Start = Callable[..., Session]


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    put(folder, {"plan": "first", "src/a.py": "a"})
    return folder


@pytest.fixture
def start(watch: Watch, work: Path, tmp_path: Path) -> Start:
    """Begin, or go on with, the session "s"; `host` names the folder for checkpoints."""

    def build(cwd: Path = work, host: str = "here", **settings: Any) -> Session:
        watched, folder = watch(), tmp_path / host
        settings.setdefault("takes", True)
        keeping = FileKeeping(watched.supervision, watched.store, cwd, folder=folder, **settings)
        return Session(watched, Transcript(), cwd, keeping)

    return build


# At prompts and around calls


async def test_the_checkpoint_is_there_before_the_first_call_that_may_write(
    start: Start, work: Path
) -> None:
    session = start()
    prompt = await session.prompt()
    before = state(work)
    await session.call("one", lambda: session.write(plan="second", new="n"), command="make")

    said = await session.files.roll_back(prompt, restore=True)

    assert state(work) == before
    assert '- Set back: "plan"' in said
    assert '- Removed, created since: "new"' in said
    assert '- "Bash": "make"' in said
    assert session.incidents == []


async def test_each_place_between_calls_has_its_own_checkpoint(start: Start, work: Path) -> None:
    session = start()
    await session.prompt()
    await session.call("good", lambda: session.write(good="kept"))
    kept = await session.call("look", tool="Read", file_path="plan")
    await session.call("bad", lambda: session.write(bad="x", plan="broken"))
    await session.call("worse", lambda: (work / "src/a.py").unlink())

    await session.files.roll_back(kept, restore=True)

    assert sorted(state(work)) == ["good", "plan", "src/a.py"]
    assert (work / "plan").read_text() == "first"


async def test_calls_that_only_read_neither_wait_nor_count(start: Start, work: Path) -> None:
    session = start()
    prompt = await session.prompt()
    await session.call("look", tool="Grep", pattern="x")

    assert await session.files.roll_back(prompt, restore=True) == ""
    assert len(await session.watched.store.files("s")) == 1


async def test_calls_at_the_same_time_share_one_checkpoint(start: Start, work: Path) -> None:
    session = start()
    prompt = await session.prompt()
    await session.begin("one")
    await session.begin("two", agent_id="helper")
    session.write(one="1", two="2")
    await session.end("one")
    await session.end("two", agent_id="helper")

    await session.files.roll_back(prompt, restore=True)

    assert sorted(state(work)) == ["plan", "src/a.py"]
    assert [r.after_call for r in await session.watched.store.files("s")][:2] == [None, "two"]


async def test_a_checkpoint_that_takes_too_long_is_told_once_and_holds_nobody(
    start: Start, work: Path
) -> None:
    session = start(wait_seconds=0.0)
    prompt = await session.prompt()
    await session.call("one", lambda: session.write(plan="second"))
    await session.prompt("More.")
    await session.call("two", lambda: session.write(plan="third"))

    said = await session.files.roll_back(prompt, restore=True)

    assert "could not be brought back" in said
    assert (work / "plan").read_text() == "third"
    late, kept = session.incidents
    assert late.startswith("a checkpoint took over 0 s, and the agent went on")
    assert kept == "files were not brought back: there is no checkpoint of them as they were"


async def test_a_folder_that_cannot_be_checkpointed_is_told_once_a_turn_is_tried(
    start: Start, work: Path
) -> None:
    session = start(limits=Limits(files=1, bytes=1000))
    for number in range(2):
        await session.prompt()
        await session.call(f"call {number}", lambda: session.write(plan="second"))
    await session.files.close()

    (told,) = session.incidents
    assert told.startswith("files are not checkpointed: more than 1 files that are not ignored")


async def test_without_checkpoints_nothing_is_taken_and_calls_are_still_named(
    start: Start, work: Path, tmp_path: Path
) -> None:
    session = start(takes=False)
    await session.files.begin()
    prompt = await session.prompt()
    await session.call("one", tool="Write", file_path=str(work / "plan"))

    said = await session.files.roll_back(prompt, restore=False)

    assert f'- "Write": "{work / "plan"}"' in said
    assert not (tmp_path / "here").exists()
    assert await session.watched.store.files("s") == []


# Rolling back


async def test_files_may_be_left_and_what_was_done_to_them_is_said(
    start: Start, work: Path
) -> None:
    session = start()
    prompt = await session.prompt()
    await session.call("one", lambda: session.write(plan="second"), command="make\n</lucid>")

    said = await session.files.roll_back(prompt, restore=False)

    assert (work / "plan").read_text() == "second"
    assert "were left as they are" in said
    assert '- Changed: "plan"' in said
    assert '- "Bash": "make \\u003c/lucid\\u003e"' in said


async def test_what_an_earlier_rollback_left_behind_is_told_again_where_it_is_out_of_sight(
    start: Start, work: Path
) -> None:
    session = start()
    prompt = await session.prompt()
    await session.call("one", lambda: session.write(plan="second"), command="publish")
    await session.files.roll_back(prompt, restore=True)
    fork = Transcript("22222222-2222-4222-8222-222222222222")
    session.transcript = fork
    again = await session.prompt("The same prompt, in the fork.")
    await session.call("two", lambda: session.write(plan="third"), command="deploy")

    said = await session.files.roll_back(again, restore=True)

    assert '- "Bash": "publish"' in said
    assert '- "Bash": "deploy"' in said
    assert (work / "plan").read_text() == "first"


async def test_what_a_restore_took_away_can_be_had_back(start: Start, work: Path) -> None:
    session = start()
    prompt = await session.prompt()
    await session.call("one", lambda: session.write(precious="work"))
    await session.files.roll_back(prompt, restore=True)
    assert not (work / "precious").exists()
    await session.files.close()

    records = await session.watched.store.files("s")
    assert [record.after_call for record in records] == [None, "one", "one"]
    assert records[0].snapshot_id == records[2].snapshot_id != records[1].snapshot_id
    assert all(record.chunks for record in records[:2])
    assert not records[2].chunks, "its content is kept once"


async def test_a_git_work_tree_keeps_its_index_refs_and_ignored_files(
    start: Start, work: Path
) -> None:
    put(work, {".gitignore": "*.log\n", "x.log": "ignored"})
    git(work, "init", "--quiet")
    git(work, "add", "plan", ".gitignore")
    git(work, "commit", "--quiet", "--message=first")
    git(work, "branch", "theirs")
    put(work, {"staged": "1"})
    git(work, "add", "staged")
    theirs, before = with_times(work / ".git"), state(work)
    session = start()
    prompt = await session.prompt()

    def ruin() -> None:
        session.write(plan="ruined", staged="2", **{"x.log": "more", "src/b.py": ""})

    await session.call("one", ruin)
    await session.files.roll_back(prompt, restore=True)

    assert with_times(work / ".git") == theirs
    assert state(work) == {**before, "x.log": state(work)["x.log"]}
    assert (work / "x.log").read_text() == "more"


async def test_a_store_that_refuses_is_told_and_files_are_still_brought_back(
    start: Start, work: Path, broken: Breaking
) -> None:
    session = start()
    with broken("INSERT ON files"):
        prompt = await session.prompt()
        await session.call("one", lambda: session.write(plan="second"))
        await session.files.roll_back(prompt, restore=True)
    assert (work / "plan").read_text() == "first"
    assert any("is kept on this host alone" in told for told in session.incidents)


# On another host


async def worked(session: Session) -> None:
    """The agent changes, makes and deletes files, and its worker ends."""
    await session.prompt()
    await session.call("one", lambda: session.write(plan="second", made="m"))
    await session.call("two", lambda: (session.work / "src/a.py").unlink())
    await session.files.close()


async def test_an_empty_folder_elsewhere_gets_the_files_from_the_store_alone(
    start: Start, tmp_path: Path
) -> None:
    here = start()
    await worked(here)
    (tmp_path / "there").mkdir()

    there = start(tmp_path / "there", "other host")
    await there.files.begin()
    said = await there.files.on_resume()

    assert state(tmp_path / "there") == state(here.work)
    assert '- Brought back: "made", "plan"' in said
    there.transcript = here.transcript
    prompt = await there.prompt()
    await there.call("three", lambda: there.write(plan="third"))
    await there.files.roll_back(prompt, restore=True)
    assert (tmp_path / "there/plan").read_text() == "second"


async def test_a_folder_elsewhere_that_is_not_empty_is_only_compared(
    start: Start, tmp_path: Path
) -> None:
    await worked(start())
    put(tmp_path / "there", {"plan": "another's", "mine": "m"})
    before = with_times(tmp_path / "there")

    said = await start(tmp_path / "there", "other host").files.on_resume()

    assert with_times(tmp_path / "there") == before
    assert '- Only here: "mine"' in said
    assert '- Different here: "plan"' in said
    assert '- Missing here: "made"' in said


async def test_restoring_elsewhere_leaves_what_is_not_of_this_session(
    start: Start, tmp_path: Path
) -> None:
    await worked(start())
    # As the session found it, but for what somebody made and changed since.
    put(tmp_path / "there", {"plan": "first", "src/a.py": "changed", "mine": "m"})

    said = await start(tmp_path / "there", "other host").files.on_resume(restore=True)

    found = {name: content for name, (_, _, content) in state(tmp_path / "there").items()}
    assert found == {"plan": b"second", "made": b"m", "src/a.py": b"changed", "mine": b"m"}
    assert '- Left as it is: "mine" (it is not as this session ever left it)' in said
    assert '- Left as it is: "src/a.py"' in said


async def test_where_nothing_differs_nothing_is_said(start: Start) -> None:
    session = start()
    await worked(session)
    assert await start().files.on_resume() == ""


async def test_a_session_without_checkpoints_cannot_be_restored(start: Start) -> None:
    session = start()
    assert await session.files.on_resume() == ""
    with pytest.raises(FilesError, match="has no checkpoint of files; its policy is to say"):
        await session.files.on_resume(restore=True)


async def test_content_over_the_limit_stays_on_the_host_and_elsewhere_that_is_said(
    start: Start, work: Path, tmp_path: Path
) -> None:
    session = start(most_bytes=4000)
    await session.prompt()
    await session.call("one", lambda: (work / "noise").write_bytes(os.urandom(8000)))
    kept = await session.call("two", lambda: session.write(plan="second"))
    await session.call("three", lambda: session.write(plan="third"))
    await session.files.roll_back(kept, restore=True)
    await session.files.close()
    assert (work / "plan").read_text() == "second"
    assert [told for told in session.incidents if "on this host alone from here on" in told]

    there = start(tmp_path / "there", "other host")
    (tmp_path / "there").mkdir()
    with pytest.raises(FilesError, match="is not in the session's store, for want of room"):
        await there.files.on_resume(restore=True)
    assert await there.files.on_resume() == ""
    assert len(there.incidents) == 2


async def test_another_worker_goes_on_with_what_was_kept(start: Start, work: Path) -> None:
    """The same host, another process, whose checkpoints build on those of the first."""
    former, session = start(), start()
    await worked(former)
    await session.files.begin()
    session.transcript = former.transcript
    prompt = await session.prompt()
    await session.call("three", lambda: session.write(plan="third"))
    await session.files.roll_back(prompt, restore=True)

    assert (work / "plan").read_text() == "second"
    assert session.incidents == []
