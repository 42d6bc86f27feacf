"""What cannot be checkpointed is refused with a reason; what goes wrong is got over."""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from supervisor.errors import FilesError
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import Limits, PathList
from tests.unit.files.conftest import empty, git, put, state

pytestmark = pytest.mark.anyio

NOBODY = 65534


@pytest.fixture
def unprivileged() -> Iterator[Path]:
    """A folder of someone's whom permissions bind, which they do not bind root."""
    folder = Path(tempfile.mkdtemp())
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(folder, NOBODY, NOBODY)
        os.seteuid(NOBODY)
    yield folder
    if is_root:
        os.seteuid(0)
    shutil.rmtree(folder)


def wrap_git(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: str) -> None:
    """Put a git on PATH that does something before the real one runs."""
    real = shutil.which("git")
    script = tmp_path / "bin" / "git"
    put(tmp_path, {"bin/git": f'#!/bin/sh\n{before}\nexec {real} "$@"\n'})
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")


def once(tmp_path: Path, command: str, action: str) -> str:
    """Shell that does something before the first `git COMMAND` alone."""
    mark = tmp_path / "mark"
    return f'case " $* " in *" {command} "*) test -e {mark} || {{ touch {mark}; {action}; }};; esac'


async def test_without_git_there_is_one_reason(
    work: Path, checkpoints: FileCheckpoints, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(work))
    assert await checkpoints.take() is None
    assert checkpoints.refusal == (
        "git was not found on PATH: install it to have files checkpointed"
    )
    monkeypatch.undo()
    assert await checkpoints.take() is not None
    assert checkpoints.refusal is None


async def test_a_folder_with_too_many_files_is_refused_before_any_is_read(
    work: Path, tmp_path: Path
) -> None:
    put(work, {f"{number}": "1" for number in range(30)})
    checkpoints = FileCheckpoints(work, tmp_path / "store", limits=Limits(files=20, bytes=10**9))
    assert await checkpoints.take() is None
    assert str(checkpoints.refusal).startswith("more than 20 files that are not ignored")
    assert not list((tmp_path / "store/git/objects").glob("??/*"))

    put(work, {".gitignore": "1*\n"})
    assert await checkpoints.take() is not None


async def test_a_folder_with_too_many_bytes_is_refused_and_the_largest_named(
    work: Path, tmp_path: Path
) -> None:
    put(work, {"small": "1"})
    with (work / "model.bin").open("wb") as file:
        file.truncate(40 * 1024**2)
    limits = Limits(files=20, bytes=10 * 1024**2)
    checkpoints = FileCheckpoints(work, tmp_path / "store", limits=limits)
    assert await checkpoints.take() is None
    assert checkpoints.refusal == (
        "more than 10 MB in files that are not ignored, 'model.bin' with 40 MB among them: "
        "name what is not worth a checkpoint in a .gitignore"
    )


async def test_a_git_that_hangs_is_given_up_and_ended(
    work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = f"echo $$ > {tmp_path}/pid; exec sleep 60"
    wrap_git(tmp_path, monkeypatch, once(tmp_path, "write-tree", hang))
    checkpoints = FileCheckpoints(work, tmp_path / "store", seconds=0.7)
    assert await checkpoints.take() is None
    assert checkpoints.refusal == "git write-tree took over 0.7 s"
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert await checkpoints.take() is not None


async def test_a_checkpoint_that_is_cancelled_leaves_nothing_running(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    os.mkfifo(tmp_path / "started")
    hang = f"echo $$ > {tmp_path}/started; exec sleep 60"
    wrap_git(tmp_path, monkeypatch, once(tmp_path, "write-tree", hang))
    taking = asyncio.create_task(checkpoints.take())
    pid = int(await asyncio.to_thread((tmp_path / "started").read_text))
    taking.cancel()
    with pytest.raises(asyncio.CancelledError):
        await taking
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert await checkpoints.take() is not None


async def test_a_file_that_vanishes_meanwhile_is_as_if_it_had_never_been(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(work, {"a": "", "fleeting": "", "folder/b": ""})
    action = f"rm {work}/fleeting; rm -r {work}/folder; ln -s /etc {work}/folder"
    wrap_git(tmp_path, monkeypatch, once(tmp_path, "update-index", action))
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    empty(work)
    await checkpoints.restore(snapshot)
    assert set(state(work)) == {"a", "folder"}


async def test_unreadable_files_are_left_out_and_kept(unprivileged: Path) -> None:
    work = unprivileged / "work"
    put(work, {"open": "1", "shut": "2", "folder/a": "3"})
    checkpoints = FileCheckpoints(work, unprivileged / "store")
    everything = await checkpoints.take()
    (work / "shut").chmod(0)
    snapshot = await checkpoints.take()
    assert everything is not None
    assert snapshot is not None, checkpoints.refusal
    assert snapshot.left_out == PathList(count=1, first=("shut",))
    assert not await checkpoints.changes(everything)

    put(work, {"open": "changed"})
    restored = await checkpoints.restore(everything)
    assert [file.path for file in restored.kept.first] == ["shut"]
    (work / "shut").chmod(0o644)
    restored = await checkpoints.restore(snapshot)
    assert restored.kept.first[0].reason == "the snapshot had left it out"
    assert (work / "open").read_text() == "1"
    assert (work / "shut").read_text() == "2"


async def test_what_cannot_be_written_back_is_kept_and_the_rest_restored(
    unprivileged: Path,
) -> None:
    work = unprivileged / "work"
    put(work, {"open": "1", "folder/a": "2"})
    checkpoints = FileCheckpoints(work, unprivileged / "store")
    snapshot = await checkpoints.take()
    assert snapshot is not None
    put(work, {"open": "changed", "folder/a": "changed"})
    (work / "folder").chmod(0o555)
    restored = await checkpoints.restore(snapshot)
    (work / "folder").chmod(0o755)
    assert [(file.path, file.reason) for file in restored.kept.first] == [
        ("folder/a", "Permission denied")
    ]
    assert (work / "open").read_text() == "1"


@pytest.mark.parametrize("damage", ["index", "lock", "objects", "index and objects"])
async def test_a_damaged_store_is_mended_by_the_next_checkpoint(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path, damage: str
) -> None:
    put(work, {"a": "1", "b/c": "2"})
    first, before = await checkpoints.take(), state(work)
    if "index" in damage:
        (tmp_path / "store/index").write_bytes(b"DIRC rubbish")
    if "lock" in damage:
        (tmp_path / "store/index.lock").touch()
    if "objects" in damage:
        for loose in (tmp_path / "store/git/objects").glob("??/*"):
            loose.unlink()
    later = FileCheckpoints(work, tmp_path / "store")
    assert await later.take() == first, later.refusal
    assert first is not None
    shutil.rmtree(work / "b")
    await later.restore(first)
    assert state(work) == before


async def test_another_process_at_the_store_is_made_out(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    (tmp_path / "store").mkdir()
    with (tmp_path / "store/lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert await checkpoints.take() is None
    assert str(checkpoints.refusal).startswith("another process uses the checkpoints in")
    assert await checkpoints.take() is not None


async def test_folders_that_are_no_project_are_refused(repository: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    for folder, store, reason in (
        (Path("/"), "store", "cannot be kept in it"),
        (tmp_path / "home", "store", "shared by too much"),
        (tmp_path / "nowhere", "store", "there is no folder"),
        (repository / ".git/hooks", "store", "a part of git's own"),
        (repository, "work/store", "cannot be kept in it"),
    ):
        checkpoints = FileCheckpoints(folder, tmp_path / store)
        assert await checkpoints.take() is None
        assert reason in str(checkpoints.refusal)
    assert "store" not in os.listdir(repository)


async def test_a_home_folder_under_git_is_a_project(tmp_path: Path) -> None:
    put(tmp_path / "home", {"a": ""})
    git(tmp_path / "home", "init", "--quiet")
    assert await FileCheckpoints(tmp_path / "home", tmp_path / "store").take() is not None


async def test_a_store_that_cannot_be_made_is_a_reason_not_a_crash(
    work: Path, tmp_path: Path
) -> None:
    put(tmp_path, {"file": ""})
    checkpoints = FileCheckpoints(work, tmp_path / "file/store")
    assert await checkpoints.take() is None
    assert "file checkpoints in" in str(checkpoints.refusal)


async def test_the_store_is_nobody_elses_to_read(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    await checkpoints.take()
    assert (tmp_path / "store").stat().st_mode & 0o077 == 0


async def test_a_folder_that_is_gone_cannot_be_restored_or_compared(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    snapshot = await checkpoints.take()
    assert snapshot is not None
    shutil.rmtree(work)
    with pytest.raises(FilesError, match="there is no folder"):
        await checkpoints.restore(snapshot)
    with pytest.raises(FilesError, match="there is no folder"):
        await checkpoints.changes(snapshot)
