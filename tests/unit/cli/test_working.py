"""`lucid submit`, `lucid worker`, `lucid resume` before any agent, and who has a session."""

from __future__ import annotations

import asyncio
import json
from datetime import timedelta
from pathlib import Path

import pytest

from supervisor.cli.telling import Ending
from supervisor.core.interruption import Cause, GoOn, Interruption
from supervisor.core.session import SessionState
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.runtime.policies import policy_of
from supervisor.runtime.submission import Submission
from supervisor.store.folders import FileMark
from supervisor.store.interface import SessionRow
from supervisor.store.sqlite import SqliteStore
from tests.unit.cli.conftest import MAIN, Lucid


def row_of(store: Path, session_id: str) -> SessionRow:
    async def look() -> SessionRow:
        async with SqliteStore(store) as opened:
            return await opened.session(session_id)

    return asyncio.run(look())


def hold(store: Path, owner: str, *, release: bool = False) -> None:
    """Have another process hold the session, or have held it."""

    async def take() -> None:
        async with SqliteStore(store) as opened:
            await opened.update_session(MAIN, state=SessionState.RUNNING)
            lease = await opened.acquire_lease(MAIN, owner=owner, ttl=timedelta(minutes=5))
            if release:
                await opened.release_lease(lease)

    asyncio.run(take())


def test_submitting_keeps_what_was_asked_for_and_prints_the_id(
    lucid: Lucid, tmp_path: Path
) -> None:
    ran = lucid(
        "submit", "Say hello.", "--priority=3", "--model=claude-haiku-4-5", "--max-turns=5",
        "--max-budget=0.5", "--allow=Bash", "--allow=Read", "--permission-mode=plan",
        "--system-prompt=Be terse.", "--policy=observe", f"--cwd={tmp_path}",
    )  # fmt: skip

    assert (ran.exit_code, ran.stderr) == (0, "")
    row = row_of(tmp_path / "lucid.db", ran.stdout.strip())
    assert (row.state, row.objective, row.cwd) == ("queued", "Say hello.", str(tmp_path))
    assert policy_of(row) == load_policy(
        "observe", detectors=registry.detectors(), actions=registry.actions()
    )
    assert Submission.of(row) == Submission(
        priority=3,
        model="claude-haiku-4-5",
        max_turns=5,
        max_budget_usd=0.5,
        allow=("Bash", "Read"),
        permission_mode="plan",
        system_prompt="Be terse.",
    )


def test_a_submission_is_data_for_machines(lucid: Lucid) -> None:
    ran = lucid("submit", "Say hello.", "--json")

    said = json.loads(ran.stdout)
    assert set(said) == {"session_id", "state"}
    assert said["state"] == "queued"


def test_a_policy_with_faults_queues_nothing(lucid: Lucid, fixtures: Path, tmp_path: Path) -> None:
    bad = fixtures / "policies" / "bad" / "unknown-keys.yaml"

    ran = lucid("submit", "Say hello.", f"--policy={bad}")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert not (tmp_path / "lucid.db").exists()


def test_a_worker_with_a_faulty_policy_takes_nothing(lucid: Lucid, fixtures: Path) -> None:
    bad = fixtures / "policies" / "bad" / "unknown-keys.yaml"

    ran = lucid("worker", "--policy", str(bad), "--until-idle")

    assert ran.exit_code == 2
    assert "faults in the policy, nothing done" in ran.stderr


def test_the_answer_of_a_session_that_was_reached_is_printed(lucid: Lucid, kept: Path) -> None:
    ran = lucid("resume", MAIN[:8])
    told = lucid("resume", MAIN, "--json")

    assert (ran.exit_code, ran.stdout) == (0, "The disk was full.\n")
    assert "--say" in ran.stderr
    assert json.loads(told.stdout) == {
        "session_id": MAIN,
        "state": "reached",
        "answer": "The disk was full.",
    }


def test_resuming_an_unknown_session_names_the_nearest(lucid: Lucid, kept: Path) -> None:
    ran = lucid("resume", "1111112")

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert MAIN in ran.stderr


def test_who_has_a_session_is_shown_where_somebody_has_one(lucid: Lucid, kept: Path) -> None:
    before = lucid("sessions").stdout
    hold(kept, "build-7#4026531836/812/99/abc")
    listed, shown = lucid("sessions").stdout, lucid("show", MAIN).stdout

    assert "worker" not in before.splitlines()[0]
    assert listed.splitlines()[0].split()[2:4] == ["state", "worker"]
    assert " running  build-7/812 " in listed
    assert "\nworker     build-7/812, until 20" in shown


def test_a_session_in_the_midst_of_its_work_that_nobody_has_is_shown_so(
    lucid: Lucid, kept: Path
) -> None:
    hold(kept, "build-7#1/812/99/abc", release=True)

    assert " running  nobody " in lucid("sessions").stdout


def follow(store: Path, owner: str, *, release: bool = False) -> None:
    """Have a sidecar follow the session, which runs beside Lucid, or have followed it."""

    async def take() -> None:
        async with SqliteStore(store) as opened:
            await opened.update_session(MAIN, state=SessionState.RUNNING)
            name, ttl = "build-7:/home/user/.claude/projects", timedelta(minutes=5)
            lease = (await opened.acquire_folder(name, owner=owner, ttl=ttl)).lease
            assert lease is not None
            marks = [mark(f"-work/{session_id}.jsonl", session_id) for session_id in (MAIN, "x")]
            await opened.keep_marks(marks, lease=lease)
            if release:
                await opened.release_folder(lease)

    asyncio.run(take())


def mark(path: str, session_id: str) -> FileMark:
    return FileMark(
        path=path, offset=1, number=1, fingerprint="", fingerprinted=0, session_id=session_id
    )


def test_a_session_that_a_sidecar_follows_is_shown_with_it(lucid: Lucid, kept: Path) -> None:
    follow(kept, "build-7#1/4711/99/abc")

    assert " running  sidecar build-7/4711 " in lucid("sessions").stdout
    assert "\nfollower   sidecar build-7/4711\n" in lucid("show", MAIN).stdout
    (line,) = lucid("sessions", "--json").stdout.splitlines()
    assert json.loads(line)["followed_by"] == "build-7#1/4711/99/abc"


def test_a_session_that_a_worker_has_is_the_workers(lucid: Lucid, kept: Path) -> None:
    follow(kept, "build-7#1/4711/99/abc")
    hold(kept, "build-8#1/812/99/abc")

    assert " running  build-8/812 " in lucid("sessions").stdout
    assert "follower" not in lucid("show", MAIN).stdout


def test_a_session_whose_sidecar_let_go_is_nobodys(lucid: Lucid, kept: Path) -> None:
    follow(kept, "build-7#1/4711/99/abc", release=True)

    assert " running  nobody " in lucid("sessions").stdout


@pytest.mark.parametrize(
    ("cause", "go_on", "code", "said"),
    [
        (Cause.INTERRUPTED, GoOn.PAUSE, 2, "lucid resume s --say 'Go on.'"),
        (Cause.LIMIT_REACHED, GoOn.STOP, 1, "lucid resume s --say 'Go on.'"),
        (Cause.BILLING, GoOn.STOP, 4, "once that is put right, lucid resume s --say 'Go on.'"),
    ],
)
def test_what_no_machine_may_go_on_with_is_said_with_what_to_do(
    cause: Cause, go_on: GoOn, code: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["/bin/lucid-of-a-test"])
    refused = Interruption(cause=cause, go_on=go_on, reason="It is so.")
    ending = Ending("s", state=SessionState.BROKEN, reason="It is so.", refused=refused)

    assert ending.exit == code
    assert ending.headline == f"Not gone on with ({cause}): It is so."
    assert dict(ending.lines())["go on"] == said


def test_a_worker_without_a_way_to_a_model_ends_before_it_takes_anything(
    lucid: Lucid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("sys.platform", "linux")

    ran = lucid("worker", "--until-idle")

    assert ran.exit_code == 2
    assert "no way to reach a model" in ran.stderr
