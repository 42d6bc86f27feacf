"""`lucid sessions`, `show`, `replay` and `scan` on a store and on files."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path

import pytest

from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.store.sqlite import SqliteStore
from tests.unit.cli.conftest import FORK, MAIN, Lucid, fill, unprintable

# lucid sessions


def test_an_empty_store_says_how_to_fill_it(lucid: Lucid) -> None:
    ran = lucid("sessions")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == "No sessions yet: 'lucid run' makes one, 'lucid demo' shows how.\n"


def test_sessions_in_a_pipe_are_one_line_each_and_whole(lucid: Lucid, kept: Path) -> None:
    ran = lucid("sessions")

    heading, line = ran.stdout.splitlines()
    assert heading.split() == [
        *("session", "changed", "state", "entries", "verdicts", "actions", "objective"),
    ]
    assert line.startswith("11111111  2")
    assert line.endswith("Find the cause. [2J ]0;owned evil 31m")
    assert line.split()[3:7] == ["reached", "15", "1", "1"]


def test_sessions_for_machines(lucid: Lucid, kept: Path) -> None:
    (line,) = lucid("sessions", "--json").stdout.splitlines()

    session = json.loads(line)
    assert (session["session_id"], session["state"]) == (MAIN, "reached")


# lucid show


def test_show_tells_the_whole_story_in_order(lucid: Lucid, kept: Path) -> None:
    ran = lucid("show", "1111")

    lines = ran.stdout.splitlines()
    assert ran.exit_code == 0
    assert lines[0] == f"session    {MAIN}"
    assert lines[1] == "state      reached"
    timeline = [line[15:].rstrip() for line in lines[5:-3]]  # figures follow
    assert timeline == [
        "  prompt    user  Find the cause.",
        "  call      Bash  ls",
        "  result    ok  build.log",
        "  agent     [a6eb5de3]  I am the helper.",
        "~ call      Bash  cat build.log",
        "~ result    ok  waiting [2J ]0;owned evil 31m",
        "~ call      Bash  cat build.log",
        "~ result    ok  waiting [2J ]0;owned evil 31m",
        "~ call      Bash  cat build.log",
        "~ result    ok  waiting [2J ]0;owned evil 31m",
        "  verdict   loop  Bash returned the same 3 times, with nothing new in between. "
        "(warning, confidence 0.80)",
        "  decision  rollback  'break loops' begins its ladder [d1]",
        "  outcome   rollback cleared  the turn ended without it (rolled back)",
        "  fork      goes on after entry 3, in 22222222",
        "  prompt    lucid  <lucid> You were taken back. </lucid>",
        "  agent     The disk was full.",
        "  incident  ingest  [2J ]0;owned evil 31m: [2J ]0;owned evil 31m",
    ]
    assert [line[:14] for line in lines[5:8]] == [f"{n:>5} 12:00:0{n - 1}" for n in (1, 2, 3)]


def test_show_for_machines_says_all_of_it(lucid: Lucid, kept: Path) -> None:
    ran = lucid("show", MAIN, "--json")

    items = [json.loads(line) for line in ran.stdout.splitlines()]
    kinds = [item["item"] for item in items]
    assert kinds[0] == "session"
    assert (ran.exit_code, kinds.count("entry"), kinds.count("fork")) == (0, 12, 1)
    assert {"verdict", "decision", "outcome", "incident"} < set(kinds)
    (fork,) = (item for item in items if item["item"] == "fork")
    assert fork == {"item": "fork", "transcript": FORK, "source": MAIN, "after_seq": 3}
    assert [item["seq"] for item in items if item.get("left_behind")] == [5, 6, 7, 8, 9, 10]


def test_an_unknown_session_is_named_with_what_there_is(lucid: Lucid, kept: Path) -> None:
    ran = lucid("show", "1111x")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert ran.stderr.startswith("lucid: there is no session '1111x'")
    assert MAIN in ran.stderr


@pytest.mark.parametrize("arguments", [["sessions"], ["show", MAIN], ["replay", MAIN]])
def test_nothing_that_was_recorded_can_steer_a_terminal(
    lucid: Lucid, kept: Path, arguments: list[str]
) -> None:
    for options in ([], ["--json"]):
        ran = lucid(*arguments, *options)

        assert ran.exit_code == 0
        assert "31m" in ran.output or "replay" in arguments
        assert not unprintable(ran.output)


def test_a_store_of_a_newer_version_is_refused_with_what_to_do(lucid: Lucid, kept: Path) -> None:
    with sqlite3.connect(kept) as db:
        db.execute("PRAGMA user_version = 999")
    db.close()

    ran = lucid("sessions")

    assert (ran.exit_code, ran.stdout) == (4, "")
    assert len(ran.stderr.splitlines()) == 1
    assert "version 999" in ran.stderr
    assert "upgrade lucid-supervisor" in ran.stderr


def test_a_store_that_cannot_be_opened_is_one_sentence(lucid: Lucid, tmp_path: Path) -> None:
    ran = lucid("sessions", "--store", "/dev/null/lucid.db")

    assert ran.exit_code == 4
    assert len(ran.stderr.splitlines()) == 1
    assert "/dev/null/lucid.db" in ran.stderr


# lucid replay


def test_replay_finds_the_same_as_live(lucid: Lucid, kept: Path) -> None:
    ran = lucid("replay", MAIN)

    assert ran.exit_code == 0
    assert ran.stdout.splitlines() == [
        "  entry 10: loop 0.80 since 7: "
        "Bash returned the same 3 times, with nothing new in between.",
        "15 entries: the same 1 verdicts as live",
    ]


def test_replay_shows_what_differs_and_ends_with_1(lucid: Lucid, kept: Path) -> None:
    asyncio.run(add_verdict(kept))

    plain, as_json = lucid("replay", MAIN), lucid("replay", MAIN, "--json")

    assert (plain.exit_code, as_json.exit_code) == (1, 1)
    assert plain.stdout.splitlines() == [
        "- entry 2 [helper]: drift 0.50 since 1: It was not so.",
        "  entry 10: loop 0.80 since 7: "
        "Bash returned the same 3 times, with nothing new in between.",
        "15 entries: 2 verdicts live, 1 on replay",
    ]
    compared = [json.loads(line)["compared"] for line in as_json.stdout.splitlines()]
    assert compared == ["missing", "same"]


async def add_verdict(path: Path) -> None:
    async with SqliteStore(path) as store:
        await store.record(
            Verdict(
                session_id=MAIN,
                transcript=MAIN,
                agent_id="helper",
                seq=2,
                onset_seq=1,
                detector="gone",
                failure_mode=FailureMode.DRIFT,
                severity=Severity.INFO,
                confidence=0.5,
                summary="It was not so.",
                evidence=Evidence(entries=(2,)),
            )
        )


# lucid scan


def test_scan_tells_what_it_found_and_keeps_it(
    lucid: Lucid, fixtures: Path, tmp_path: Path
) -> None:
    transcripts = tmp_path / "old"
    transcripts.mkdir()
    lines = asyncio.run(lines_of_loop(tmp_path / "made.db"))
    (transcripts / f"{MAIN}.jsonl").write_bytes(b"\n".join([*lines, b'{"type": "user", broken']))
    kept = tmp_path / "scanned.db"

    ran = lucid("scan", str(transcripts), "--store", str(kept))
    as_json = lucid("scan", str(transcripts), "--json")

    assert (ran.exit_code, as_json.exit_code) == (1, 1)
    found, total = ran.stdout.splitlines()
    assert found.startswith("11111111 entry 9: loop 0.80 since 6: Bash returned the same 3 times")
    assert total.endswith(": 1 with verdicts")
    assert f"{MAIN}.jsonl:10" in ran.stderr
    (session,) = (json.loads(line) for line in as_json.stdout.splitlines())
    assert len(session["verdicts"]) == len(session["incidents"]) == 1
    assert "  verdict   loop" in lucid("show", MAIN, "--store", str(kept)).stdout


async def lines_of_loop(path: Path) -> list[bytes]:
    await fill(path)
    async with SqliteStore(path) as store:
        stored = [entry async for entry in store.entries(MAIN, transcript=MAIN)]
    return [entry.raw for entry in stored if not entry.subpath]


def test_scan_that_finds_nothing_ends_with_0(lucid: Lucid, fixtures: Path) -> None:
    ran = lucid("scan", str(fixtures / "transcripts" / "cli-2.1.330-subagent.jsonl"))

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout.endswith(": 0 with verdicts\n")


def test_scan_of_a_folder_without_transcripts_says_so(lucid: Lucid, tmp_path: Path) -> None:
    ran = lucid("scan", str(tmp_path))

    assert ran.exit_code == 2
    assert ran.stderr == f"lucid: no transcript (*.jsonl) in {tmp_path}\n"
