"""`lucid prune`, `export` and `import` on a store."""

from __future__ import annotations

import asyncio
import gzip
import json
import stat
from pathlib import Path

import pytest

from supervisor.core.session import SessionState
from supervisor.errors import StoreError
from supervisor.store.sqlite import SqliteStore
from tests.unit.cli.conftest import MAIN, Lucid


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def _set_state(path: Path, state: SessionState) -> None:
    async def update() -> None:
        async with SqliteStore(path) as store:
            await store.update_session(MAIN, state=state)

    asyncio.run(update())


# lucid prune


def test_prune_says_what_it_deletes(lucid: Lucid, kept: Path) -> None:
    ran = lucid("prune", "--older-than", "1ms")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == "11111111  15 entries\n1 sessions with 15 entries deleted\n"
    assert lucid("show", MAIN).exit_code == 2
    assert lucid("prune", "--older-than", "1ms").stdout == "0 sessions with 0 entries deleted\n"


def test_a_dry_run_deletes_nothing(lucid: Lucid, kept: Path) -> None:
    ran = lucid("prune", "--older-than", "1ms", "--dry-run")

    planned, total = ran.stdout.splitlines()
    assert planned.startswith("11111111  2")
    assert planned.endswith("  reached  15 entries  Find the cause. [2J ]0;owned evil 31m")
    assert total == "1 sessions with 15 entries would be deleted"
    assert lucid("show", MAIN).exit_code == 0


def test_prune_leaves_what_is_young_or_may_be_resumed(lucid: Lucid, kept: Path) -> None:
    assert "0 sessions" in lucid("prune", "--older-than", "30d").stdout
    _set_state(kept, SessionState.RUNNING)
    assert "0 sessions" in lucid("prune", "--older-than", "1ms").stdout
    assert "1 sessions" in lucid("prune", "--older-than", "1ms", "--unfinished").stdout


def test_prune_for_machines(lucid: Lucid, kept: Path) -> None:
    planned = json.loads(lucid("prune", "--older-than", "1ms", "--dry-run", "--json").stdout)
    assert (planned["session_id"], planned["entries"]) == (MAIN, 15)
    removed = json.loads(lucid("prune", "--older-than", "1ms", "--json").stdout)
    assert removed == {"session_id": MAIN, "entries": 15}


@pytest.mark.parametrize(
    ("age", "said"),
    [
        ("30", "must be a whole number and a unit"),
        ("last week", "must be a whole number and a unit"),
        ("-1d", "must be a whole number and a unit"),
        ("0d", "must be longer than no time at all"),
        ("999999999d", "is before the calendar begins"),
    ],
)
def test_an_age_that_is_none_is_refused(lucid: Lucid, kept: Path, age: str, said: str) -> None:
    ran = lucid("prune", "--older-than", age)

    assert ran.exit_code == 2
    assert said in " ".join(ran.stderr.split())
    assert lucid("show", MAIN).exit_code == 0


# lucid export, lucid import


def test_a_session_goes_through_a_file_to_another_store(
    lucid: Lucid, kept: Path, here: Path
) -> None:
    ran = lucid("export", "1111")

    assert (ran.exit_code, ran.stderr) == (0, "")
    assert ran.stdout == f"session 11111111 with 15 entries is in {MAIN}.jsonl.gz\n"
    assert stat.S_IMODE((here / f"{MAIN}.jsonl.gz").stat().st_mode) == 0o600
    ran = lucid("import", f"{MAIN}.jsonl.gz", "--store", "other.db")
    assert ran.exit_code == 0
    assert ran.stdout.startswith("imported session 11111111 with 15 entries; look at it:\n  ")
    assert ran.stdout.endswith("show 11111111 --store other.db\n")
    shown = lucid("show", MAIN, "--store", "other.db")
    assert shown.stdout == lucid("show", MAIN).stdout


def test_an_export_leaves_secrets_out_unless_told_otherwise(
    lucid: Lucid, kept: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def add() -> None:
        async with SqliteStore(kept) as store:
            await store.update_session(MAIN, objective="log in with --password hunter2-hunter2")

    asyncio.run(add())
    ran = lucid("export", MAIN, "-o", "s.gz")
    assert "secrets were left out of 1 lines; --raw keeps them\n" in ran.stdout
    assert b"hunter2" not in gzip.decompress((here / "s.gz").read_bytes())
    assert "left out" not in lucid("export", MAIN, "-o", "raw.gz", "--raw").stdout
    assert b"hunter2" in gzip.decompress((here / "raw.gz").read_bytes())
    assert "hunter2" not in lucid("show", MAIN).stdout
    assert "hunter2" not in lucid("sessions", "--json").stdout
    monkeypatch.setenv("LUCID_REDACT", "false")
    lucid("export", MAIN, "-o", "off.gz")
    assert (here / "off.gz").read_bytes() == (here / "raw.gz").read_bytes()
    assert "hunter2" in lucid("show", MAIN).stdout


def test_a_store_is_encrypted_with_a_key_that_lucid_makes(
    lucid: Lucid, kept: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lucid("export", MAIN, "-o", "s.gz")
    key = lucid("key").stdout.strip()
    monkeypatch.setenv("LUCID_STORE_KEY", key)
    assert lucid("import", "s.gz", "--store", "sealed.db").exit_code == 0
    assert lucid("show", MAIN, "--store", "sealed.db").stdout == lucid("show", MAIN).stdout
    assert b"Find the cause" not in (here / "sealed.db").read_bytes()
    monkeypatch.setenv("LUCID_STORE_KEY", lucid("key").stdout)
    ran = lucid("sessions", "--store", "sealed.db")
    assert ran.exit_code == 4
    assert ran.stderr.startswith("lucid: the store is encrypted with another key")
    monkeypatch.setenv("LUCID_STORE_KEY", key[:-1])
    assert "holds what is no key" in lucid("sessions").stderr


def test_what_is_in_a_store_already_is_encrypted_on_request(
    lucid: Lucid, kept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, newest = (lucid("key").stdout.strip() for _ in range(2))
    before = lucid("show", MAIN).stdout
    ran = lucid("seal")
    assert (ran.exit_code, ran.stdout) == (2, "")
    assert "set LUCID_STORE_KEY" in ran.stderr

    monkeypatch.setenv("LUCID_STORE_KEY", old)
    ran = lucid("seal")
    assert ran.exit_code == 0
    assert "\nentry: 15\n" in ran.stdout
    assert b"Find the cause" not in kept.read_bytes()

    monkeypatch.setenv("LUCID_STORE_KEY", f"{newest},{old}")
    told = [json.loads(line) for line in lucid("seal", "--json").stdout.splitlines()]
    assert {"table": "entry", "looked_at": 15, "sealed": 15} in told
    assert lucid("seal").stdout.startswith("0 of ")
    monkeypatch.setenv("LUCID_STORE_KEY", newest)
    assert lucid("show", MAIN).stdout == before


def test_importing_what_is_there_says_so(lucid: Lucid, kept: Path, here: Path) -> None:
    lucid("export", MAIN, "-o", "s.gz")
    ran = lucid("import", "s.gz")

    assert (ran.exit_code, ran.stdout) == (
        0,
        "session 11111111 is in the store already, the same\n",
    )


def test_an_export_replaces_no_file(lucid: Lucid, kept: Path, here: Path) -> None:
    (here / "notes").write_text("mine")
    ran = lucid("export", MAIN, "-o", "notes")

    assert ran.exit_code == 2
    assert ran.stderr == "lucid: notes is there already; name another file with -o\n"
    assert (here / "notes").read_text() == "mine"


def test_an_export_that_cannot_be_written_says_so(lucid: Lucid, kept: Path, here: Path) -> None:
    ran = lucid("export", MAIN, "-o", "no/such/folder.gz")

    assert ran.exit_code == 2
    assert "no/such/folder.gz cannot be written: No such file or directory" in ran.stderr


def test_an_export_that_fails_leaves_no_file(
    lucid: Lucid, kept: Path, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(self: SqliteStore, session_id: str) -> None:
        raise StoreError("the store is damaged")

    monkeypatch.setattr(SqliteStore, "prompts", fail)
    ran = lucid("export", MAIN)

    assert (ran.exit_code, ran.stderr) == (4, "lucid: the store is damaged\n")
    assert list(here.iterdir()) == []


def test_an_export_to_standard_output_is_the_file(lucid: Lucid, kept: Path, here: Path) -> None:
    lucid("export", MAIN, "-o", "s.gz")

    assert lucid("export", MAIN, "-o", "-").stdout_bytes == (here / "s.gz").read_bytes()


def test_an_unknown_session_leaves_no_file(lucid: Lucid, kept: Path, here: Path) -> None:
    ran = lucid("export", "nope")

    assert ran.exit_code == 2
    assert "there is no session 'nope'; the nearest are" in ran.stderr
    assert list(here.iterdir()) == []


def test_what_is_no_archive_is_refused_with_its_line(lucid: Lucid, here: Path) -> None:
    (here / "notes").write_text("dear diary")
    ran = lucid("import", "notes")

    assert ran.exit_code == 2
    assert ran.stderr.startswith("lucid: notes: line 1: no file of 'lucid export'")
    assert "nothing was imported" in ran.stderr
    assert "No sessions yet" in lucid("sessions").stdout
