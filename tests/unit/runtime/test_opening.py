"""How a session begins: afresh, resumed, continued, forked; and its earlier history."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from claude_agent_sdk import ClaudeAgentOptions, InMemorySessionStore, project_key_for_directory

from supervisor.runtime.fork import local_transcript
from supervisor.runtime.opening import Opening, take_history, where_to_begin
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import MAIN, Transcript, Watch

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker")]

OTHER = "22222222-2222-4222-8222-222222222222"
GIVEN = "33333333-3333-4333-8333-333333333333"


class Place:
    """Where an agent works, and where its CLI keeps transcripts."""

    def __init__(self, folder: Path) -> None:
        self.work = folder / "work"
        self.config = folder / "config"
        self.work.mkdir()
        self.project_key = project_key_for_directory(self.work)

    def options(self, **more: Any) -> ClaudeAgentOptions:
        env = {"CLAUDE_CONFIG_DIR": str(self.config)}
        return ClaudeAgentOptions(cwd=self.work, env=env, **more)

    def write(self, transcript: Transcript, at: float = 0.0) -> Path:
        """Put a transcript where the CLI would, last changed `at`."""
        env = {"CLAUDE_CONFIG_DIR": str(self.config)}
        path = local_transcript(self.project_key, transcript.sdk_session_id, env)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"".join(line + b"\n" for line in transcript.lines))
        os.utime(path, (at, at))
        return path


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def told(transcript: Transcript) -> Transcript:
    transcript.prompt("Find the cause.")
    transcript.step("a", "the log", command="cat build.log")
    transcript.text("FAIL:one")
    return transcript


# Where


async def test_a_new_session_has_an_id_that_the_cli_is_told(place: Place, store: Store) -> None:
    opening = await where_to_begin(place.options(), store)

    assert opening.session_id == opening.sdk_session_id == opening.options.session_id
    assert not opening.resumes
    assert opening.key == {"project_key": place.project_key, "session_id": opening.session_id}
    another = await where_to_begin(place.options(), store)
    assert another.session_id != opening.session_id


async def test_the_callers_own_id_is_kept(place: Place, store: Store) -> None:
    opening = await where_to_begin(place.options(session_id=GIVEN), store)
    assert opening.session_id == opening.sdk_session_id == opening.options.session_id == GIVEN


async def test_a_session_that_the_store_does_not_know_is_resumed_as_itself(
    place: Place, store: Store
) -> None:
    opening = await where_to_begin(place.options(resume=MAIN), store)

    assert (opening.session_id, opening.sdk_session_id, opening.resumes) == (MAIN, MAIN, True)
    assert opening.options.resume == MAIN
    assert opening.options.session_id is None


@pytest.mark.parametrize("named", ["the session", "its first transcript", "its fork"])
async def test_a_session_that_was_rolled_back_goes_on_in_its_newest_fork(
    place: Place, store: Store, named: str
) -> None:
    await store.create_session(GIVEN, project_key=place.project_key)
    for name in (MAIN, OTHER):
        key = {"project_key": place.project_key, "session_id": name}
        await store.write(key, [Transcript(name).prompt()], session_id=GIVEN)  # type: ignore[arg-type] # a key
    await store.update_session(GIVEN, head=OTHER)
    ids = {"the session": GIVEN, "its first transcript": MAIN, "its fork": OTHER}

    opening = await where_to_begin(place.options(resume=ids[named]), store)
    assert (opening.session_id, opening.sdk_session_id, opening.resumes) == (GIVEN, OTHER, True)
    assert opening.options.resume == OTHER


async def test_a_fork_of_the_callers_is_a_session_of_its_own(place: Place, store: Store) -> None:
    opening = await where_to_begin(place.options(resume=MAIN, fork_session=True), store)

    assert not opening.resumes
    assert opening.session_id == opening.options.session_id != MAIN
    assert opening.options.resume == MAIN
    assert opening.options.fork_session


async def test_to_continue_is_to_resume_the_newest_local_transcript(
    place: Place, store: Store
) -> None:
    place.write(Transcript(OTHER), at=1_000)
    place.write(Transcript(MAIN), at=2_000)
    place.write(Transcript("agent-a1b2"), at=3_000)

    opening = await where_to_begin(place.options(continue_conversation=True), store)
    assert (opening.sdk_session_id, opening.resumes) == (MAIN, True)
    assert opening.options.resume == MAIN
    assert not opening.options.continue_conversation, "the CLI is told the id, not to choose"


async def test_to_continue_with_a_store_is_to_resume_its_newest_session(
    place: Place, store: Store
) -> None:
    theirs = InMemorySessionStore()
    for name in (MAIN, OTHER):
        transcript = Transcript(name)
        transcript.prompt()
        await theirs.append(
            {"project_key": place.project_key, "session_id": name}, transcript.entries
        )
    options = place.options(continue_conversation=True, session_store=theirs)

    listed = await theirs.list_sessions(place.project_key)
    newest = max(listed, key=lambda session: session["mtime"])["session_id"]
    assert (await where_to_begin(options, store)).sdk_session_id == newest


@pytest.mark.parametrize("with_store", [False, True])
async def test_to_continue_where_there_is_nothing_begins_afresh(
    place: Place, store: Store, with_store: bool
) -> None:
    theirs = InMemorySessionStore() if with_store else None
    options = place.options(continue_conversation=True, session_store=theirs)

    assert not (await where_to_begin(options, store)).resumes


# History


async def opened(place: Place, store: Store, **more: Any) -> Opening:
    """A resumed session, as the client makes it known to the store."""
    opening = await where_to_begin(place.options(resume=MAIN, **more), store)
    await store.create_session("s", project_key=place.project_key)
    return opening


async def numbered(store: Store) -> list[tuple[int, bool, str]]:
    return [
        (entry.seq, entry.inherited, json.loads(entry.raw)["type"])
        async for entry in store.entries("s")
    ]


async def test_a_local_history_is_taken_as_inherited(
    place: Place, store: Store, watch: Watch, told: Transcript
) -> None:
    place.write(told)
    watched = watch()
    await take_history(await opened(place, store), watched.supervision)

    assert await numbered(store) == [
        (1, True, "user"),
        (2, True, "assistant"),
        (3, True, "user"),
        (4, True, "assistant"),
    ]
    assert watched.told == [], "it was not judged"
    assert (await store.session("s")).objective == "Find the cause."
    last = watched.supervision.last_checkpoint(MAIN)
    assert last is not None
    assert last.seq == 4


async def test_a_history_in_the_callers_store_is_taken_likewise(
    place: Place, store: Store, watch: Watch, told: Transcript
) -> None:
    theirs = InMemorySessionStore()
    await theirs.append({"project_key": place.project_key, "session_id": MAIN}, told.entries)
    watched = watch()
    await take_history(await opened(place, store, session_store=theirs), watched.supervision)

    assert [seq for seq, *_ in await numbered(store)] == [1, 2, 3, 4]
    assert [json.loads(entry.raw) async for entry in store.entries("s")] == told.entries


async def test_a_history_is_not_taken_twice_though_some_lines_have_no_uuid(
    place: Place, store: Store, watch: Watch, told: Transcript
) -> None:
    told.lines.insert(1, b'{"type":"mode","mode":"default"}')
    place.write(told)
    await take_history(await opened(place, store), watch().supervision)
    before = await numbered(store)

    again = watch()
    await take_history(await opened(place, store), again.supervision)
    assert await numbered(store) == before
    assert again.supervision.seq == 5


async def test_what_an_unsupervised_run_added_is_taken_and_not_judged(
    place: Place, store: Store, watch: Watch, told: Transcript
) -> None:
    place.write(told)
    await take_history(await opened(place, store), watch().supervision)
    told.lines.append(b'{"type":"mode","mode":"plan"}')
    told.prompt("Go on.")
    told.text("FAIL:two")
    place.write(told)

    watched = watch()
    await take_history(await opened(place, store), watched.supervision)
    # A line without a uuid may be one that was mirrored: it is left out.
    assert (await numbered(store))[4:] == [(5, True, "user"), (6, True, "assistant")]
    assert watched.told == []


async def test_a_long_history_is_taken_in_parts(
    place: Place, store: Store, watch: Watch, told: Transcript, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("supervisor.runtime.opening._PART_LINES", 3)
    place.write(told)
    await take_history(await opened(place, store), watch().supervision)

    assert [seq for seq, *_ in await numbered(store)] == [1, 2, 3, 4]


async def test_a_writers_half_line_is_left_alone(
    place: Place, store: Store, watch: Watch, told: Transcript
) -> None:
    path = place.write(told)
    with path.open("ab") as file:
        file.write(b'{"type":"user","mess')
    await take_history(await opened(place, store), watch().supervision)

    assert len(await numbered(store)) == 4


async def test_a_history_that_is_nowhere_is_no_error(
    place: Place, store: Store, watch: Watch
) -> None:
    watched = watch()
    await take_history(await opened(place, store), watched.supervision)

    assert watched.supervision.seq == 0
