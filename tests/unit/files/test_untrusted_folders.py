"""Whatever stands in a folder or its repository: no program of it runs, no path leaves it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from supervisor.errors import FilesError
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot
from supervisor.files.tree import read_contents
from tests.unit.files.conftest import git, put, state

pytestmark = pytest.mark.anyio


async def use(checkpoints: FileCheckpoints, work: Path) -> None:
    """Everything that is done with a folder."""
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    put(work, {"tracked.txt": "edited again", "made since": ""})
    await checkpoints.changes(snapshot)
    restored = await checkpoints.restore(snapshot)
    assert restored.changes
    assert b"".join([chunk async for chunk in checkpoints.export(snapshot)])


def program(tmp_path: Path) -> tuple[Path, Path]:
    """A program, and the file that is there once it ran."""
    marker = tmp_path / "it-ran"
    path = tmp_path / "program"
    path.write_text(f"#!/bin/sh\ntouch {marker}\ncat\n")
    path.chmod(0o755)
    return path, marker


async def test_no_filter_hook_or_monitor_of_a_repository_runs(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    path, marker = program(tmp_path)
    for name in ("filter.x.clean", "filter.x.smudge", "diff.x.textconv"):
        git(repository, "config", name, str(path))
    git(repository, "config", "diff.external", str(path))
    git(repository, "config", "core.fsmonitor", str(path))
    put(repository, {".gitattributes": "* filter=x diff=x\n", ".git/hooks/post-index-change": ""})
    hook = repository / ".git/hooks/post-index-change"
    hook.write_text(path.read_text())
    hook.chmod(0o755)
    put(repository, {"tracked.txt": "edited"})

    await use(checkpoints, repository)
    assert not marker.exists()
    git(repository, "hash-object", "--path=a", "tracked.txt")
    assert marker.exists(), "the trap is armed: git itself runs into it"


async def test_no_remote_is_asked_for_what_a_repository_lacks(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    path, marker = program(tmp_path)
    for name, value in (
        ("core.repositoryFormatVersion", "1"),
        ("extensions.partialClone", "origin"),
        ("remote.origin.promisor", "true"),
        ("remote.origin.url", f"ext::{path}"),
        ("protocol.ext.allow", "always"),
    ):
        git(repository, "config", name, value)
    for loose in (repository / ".git/objects").glob("??/*"):
        loose.unlink()
    await use(checkpoints, repository)
    assert not marker.exists()


async def test_the_environment_of_another_git_does_not_lead_astray(
    repository: Path,
    checkpoints: FileCheckpoints,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path, marker = program(tmp_path)
    (repository / "git").write_text(path.read_text())
    (repository / "git").chmod(0o755)
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PATH", ".:/usr/local/bin:/usr/bin:/bin")
    for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"):
        monkeypatch.setenv(name, str(tmp_path / "astray"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "1")
    monkeypatch.setenv("GIT_CONFIG_KEY_0", "core.fsmonitor")
    monkeypatch.setenv("GIT_CONFIG_VALUE_0", str(path))
    await use(checkpoints, repository)
    assert not marker.exists()
    assert not (tmp_path / "astray").exists()


@pytest.mark.parametrize("index", [b"", b"no index", b"DIRC\0\0\0\2\0\0\xff\xff" + bytes(999)])
async def test_a_broken_index_of_the_users_is_gone_without(
    repository: Path, checkpoints: FileCheckpoints, index: bytes
) -> None:
    (repository / ".git/index").write_bytes(index)
    await use(checkpoints, repository)
    assert (repository / ".git/index").read_bytes() == index


async def test_an_index_that_names_paths_outside_is_not_believed(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(tmp_path, {"abcdefg": "outside"})
    put(repository, {"xxxabcdefg": ""})
    git(repository, "add", "xxxabcdefg")
    index = repository / ".git/index"
    index.write_bytes(index.read_bytes().replace(b"xxxabcdefg", b"../abcdefg"))
    snapshot = await checkpoints.take()
    assert snapshot is not None
    (tmp_path / "abcdefg").unlink()
    await checkpoints.restore(snapshot)
    assert not (tmp_path / "abcdefg").exists()


@pytest.mark.parametrize("text", ["gitdir: ../nowhere", "gitdir: \0", "gitdir:" + "x" * 5000, ""])
async def test_a_git_file_that_leads_nowhere_makes_a_plain_folder(
    work: Path, checkpoints: FileCheckpoints, text: str
) -> None:
    put(work, {".git": text, "tracked.txt": ""})
    await use(checkpoints, work)


def hand_made(store: Path, entries: list[tuple[str, str, bytes]]) -> FileSnapshot:
    """A snapshot whose files are these entries (mode, object, name), unchecked."""
    tree = b"".join(
        mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, oid, name in entries
    )
    files = write_object(store, "tree", tree)
    extras = write_object(store, "blob", b"")
    outer = b"100644 extras\0" + bytes.fromhex(extras)
    outer += b"40000 files\0" + bytes.fromhex(files)
    return FileSnapshot(id=write_object(store, "tree", outer), cwd="", files=1, bytes=1)


def write_object(store: Path, kind: str, content: bytes) -> str:
    done = subprocess.run(
        ["git", "hash-object", "--literally", "-w", "-t", kind, "--stdin"],
        cwd=store / "git",
        input=content,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().strip()


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("100644", b"../escaped"),
        ("100644", b"/tmp/escaped"),
        ("100644", b".."),
        ("100644", b".git"),
        ("100644", b".GIT/config"),
        ("100644", b"a//b"),
        ("160000", b"gitlink"),
    ],
)
async def test_a_hand_made_checkpoint_with_a_trick_in_it_is_refused(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path, mode: str, name: bytes
) -> None:
    put(work, {"a": "1"})
    assert await checkpoints.take() is not None
    blob = write_object(tmp_path / "store", "blob", b"evil")
    trick = hand_made(tmp_path / "store", [(mode, blob, name)])
    before = state(tmp_path)
    with pytest.raises(FilesError, match="not a checkpoint of files"):
        await checkpoints.restore(trick)
    assert state(tmp_path) == before


async def test_a_hand_made_checkpoint_cannot_write_through_its_own_link(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    assert await checkpoints.take() is not None
    (tmp_path / "outside").mkdir()
    link = write_object(tmp_path / "store", "blob", str(tmp_path / "outside").encode())
    evil = write_object(tmp_path / "store", "blob", b"evil")
    trick = hand_made(tmp_path / "store", [("120000", link, b"a"), ("100644", evil, b"a/b")])
    restored = await checkpoints.restore(trick)
    assert restored.kept.count == 1
    assert state(tmp_path / "outside") == {}


@pytest.mark.parametrize("extras", [b"rwx a\0", b"0644 a\0", b"a\0", b"7 777 a\0"])
async def test_a_hand_made_checkpoint_with_unknown_extras_is_refused(extras: bytes) -> None:
    with pytest.raises(FilesError, match="its extras hold"):
        read_contents(b"", extras)
