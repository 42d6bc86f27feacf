"""A folder is brought to a checkpoint, and nothing else is touched."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from supervisor.errors import FilesError
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.folder import Folder
from supervisor.files.look import Seen
from supervisor.files.model import FileSnapshot, KeptFile, Limits, PathList
from supervisor.files.tree import Entry
from tests.unit.files.conftest import git, put, state, with_times

pytestmark = pytest.mark.anyio


async def taken(checkpoints: FileCheckpoints) -> FileSnapshot:
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    return snapshot


async def test_files_are_brought_back_set_back_and_removed_and_it_can_be_undone(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    put(repository, {"x.log": "ignored", "untracked": "1"})
    first, at_first = await taken(checkpoints), state(repository)

    put(repository, {"tracked.txt": "edited", "new/deep/a": "", "x.log": "still ignored"})
    (repository / "src/a.py").unlink()
    (repository / "src").rmdir()
    (repository / "untracked").rename(repository / "renamed")
    later = state(repository)

    restored = await checkpoints.restore(first)
    assert restored.changes.added == PathList(count=2, first=("src/a.py", "untracked"))
    assert restored.changes.modified == PathList(count=1, first=("tracked.txt",))
    assert restored.changes.deleted == PathList(count=2, first=("new/deep/a", "renamed"))
    assert restored.kept.count == 0
    assert state(repository) == {**at_first, "x.log": later["x.log"]}
    assert not (repository / "new").exists()

    await checkpoints.restore(restored.before)
    assert state(repository) == later


async def test_restoring_what_is_there_changes_nothing(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    snapshot = await taken(checkpoints)
    before = with_times(repository)
    restored = await checkpoints.restore(snapshot)
    assert not restored.changes
    assert restored.before == snapshot
    assert with_times(repository) == before


async def test_modes_and_links_are_brought_back(work: Path, checkpoints: FileCheckpoints) -> None:
    put(work, {"private": "1", "run": "2", "plain": "3"})
    (work / "private").chmod(0o600)
    (work / "run").chmod(0o750)
    (work / "in").symlink_to("plain")
    (work / "out").symlink_to("/etc/hostname")
    (work / "broken").symlink_to("nowhere\nat all")
    snapshot, before = await taken(checkpoints), state(work)

    (work / "private").chmod(0o644)
    (work / "run").unlink()
    for name in ("in", "out", "broken"):
        (work / name).unlink()
    put(work, {"in": "a file now"})
    await checkpoints.restore(snapshot)
    assert state(work) == before


@pytest.mark.parametrize("name", ["new\nline", "-rf", "back\\slash", "ünï", ":(glob)*", "git~1"])
async def test_any_name_will_do(work: Path, checkpoints: FileCheckpoints, name: str) -> None:
    put(work, {name: "1", f"{name}.d/{name}": "2"})
    snapshot, before = await taken(checkpoints), state(work)
    put(work, {name: "changed"})
    shutil.rmtree(work / f"{name}.d")
    await checkpoints.restore(snapshot)
    assert state(work) == before


async def test_a_name_that_is_no_utf8_is_brought_back_and_shown_escaped(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {os.fsdecode(b"caf\xe9"): "1"})
    snapshot, before = await taken(checkpoints), state(work)
    os.unlink(os.fsencode(work) + b"/caf\xe9")
    restored = await checkpoints.restore(snapshot)
    assert restored.changes.added.first == ("caf\\xe9",)
    assert state(work) == before


async def test_files_folders_and_links_that_took_each_others_places_are_set_right(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {"file": "1", "folder/a": "2", "folder/sub/b": "3", "linked/c": "4", "empty": "5"})
    snapshot, before = await taken(checkpoints), state(work)

    (work / "file").unlink()
    put(work, {"file/now/a/folder": ""})
    shutil.rmtree(work / "folder")
    put(work, {"folder": "now a file"})
    shutil.rmtree(work / "linked")
    put(tmp_path / "outside", {"c": "outside"})
    (work / "linked").symlink_to(tmp_path / "outside")
    (work / "empty").unlink()
    (work / "empty").mkdir()

    restored = await checkpoints.restore(snapshot)
    assert restored.kept.count == 0
    assert state(work) == before
    assert state(tmp_path / "outside")["c"][2] == b"outside"


async def test_a_link_that_leads_out_is_replaced_and_never_followed(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {"a": "inside", "b": "inside"})
    put(tmp_path, {"target": "outside", "twin": "outside"})
    snapshot = await taken(checkpoints)
    (work / "a").unlink()
    (work / "a").symlink_to(tmp_path / "target")
    (work / "b").unlink()
    (work / "b").hardlink_to(tmp_path / "twin")

    await checkpoints.restore(snapshot)
    assert state(work)["a"][0] == "file"
    assert ((work / "a").read_text(), (work / "b").read_text()) == ("inside", "inside")
    assert (tmp_path / "target").read_text() == (tmp_path / "twin").read_text() == "outside"


async def test_a_folder_with_ignored_files_keeps_its_place(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {".gitignore": "*.log\n", "a": "1", "b": "1"})
    snapshot = await taken(checkpoints)
    (work / "a").unlink()
    put(work, {"a/precious.log": "", "b": "2"})

    restored = await checkpoints.restore(snapshot)
    reason = "a folder with ignored files is in its place"
    assert restored.kept.first == (KeptFile(path="a", reason=reason),)
    assert restored.changes.modified.first == ("b",)
    assert (work / "a/precious.log").exists()


async def test_a_repository_made_since_is_not_touched(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    snapshot = await taken(checkpoints)
    git(repository / "src", "init", "--quiet")
    put(repository, {"src/a.py": "edited", "src/b.py": "", "clone/x": ""})
    git(repository / "clone", "init", "--quiet")

    restored = await checkpoints.restore(snapshot)
    reason = "it lies in a git repository of its own"
    assert restored.kept.first == (KeptFile(path="src/a.py", reason=reason),)
    assert (repository / "src/a.py").read_text() == "edited"
    assert (repository / "clone/x").exists()


async def test_files_hidden_by_a_later_rule_are_removed_and_come_back_when_undone(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {".gitignore": "*.log\n", "a": "1", "old.log": "", "b.tmp": "1"})
    snapshot, before = await taken(checkpoints), state(work)
    put(work, {".gitignore": "*.tmp\n", "new.tmp": "made", "b.tmp": "2"})
    later = state(work)

    restored = await checkpoints.restore(snapshot)
    assert state(work) == before
    await checkpoints.restore(restored.before)
    assert state(work) == later


async def test_a_rule_that_hides_itself_hides_nothing_from_a_restore(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"a": "1"})
    snapshot, before = await taken(checkpoints), state(work)
    put(work, {".gitignore": "*\n", "a": "2", "new": ""})
    await checkpoints.restore(snapshot)
    assert state(work) == before


@pytest.mark.parametrize("rules", [None, "", "!secret.json\n"])
async def test_a_file_that_was_ignored_then_is_kept_though_its_rule_is_gone(
    work: Path, checkpoints: FileCheckpoints, rules: str | None
) -> None:
    put(work, {".gitignore": "secret.json\n", "secret.json": "precious"})
    snapshot, before = await taken(checkpoints), state(work)
    if rules is None:
        (work / ".gitignore").unlink()
    else:
        put(work, {".gitignore": rules})
    await taken(checkpoints)
    restored = await checkpoints.restore(snapshot)
    assert state(work) == before
    assert restored.changes.deleted.count == 0


async def test_nothing_is_restored_where_no_copy_can_be_kept_first(
    work: Path, tmp_path: Path
) -> None:
    limits = Limits(files=2, bytes=100)
    checkpoints = FileCheckpoints(work, tmp_path / "store", limits=limits)
    put(work, {"a": "1"})
    snapshot = await taken(checkpoints)
    put(work, {"a": "2", "b": "", "c": ""})
    before = state(work)
    with pytest.raises(FilesError, match=r"nothing was restored.*more than 2 files"):
        await checkpoints.restore(snapshot)
    assert state(work) == before


async def test_an_unknown_or_incomplete_checkpoint_changes_nothing(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {"a": "1", "b": "2"})
    snapshot = await taken(checkpoints)
    put(work, {"a": "changed"})
    before = state(work)
    for unknown in ("0" * 40, "--all", "HEAD", ""):
        missing = FileSnapshot(id=unknown, cwd="", files=0, bytes=0)
        with pytest.raises(FilesError, match="no checkpoint of files"):
            await checkpoints.restore(missing)

    blob = git(work, "hash-object", "b").strip()
    (tmp_path / "store/git/objects" / blob[:2] / blob[2:]).unlink()
    with pytest.raises(FilesError, match="the checkpoint is incomplete"):
        await checkpoints.restore(snapshot)
    assert state(work) == before


async def test_a_file_that_changes_meanwhile_is_kept(tmp_path: Path) -> None:
    put(tmp_path, {"a": "as seen", "b": "as seen"})
    seen = {name: Seen.of(os.lstat(tmp_path / name.decode())) for name in (b"a", b"b")}
    folder = Folder(tmp_path, seen)
    put(tmp_path, {"a": "a person's edit", "b": "a person's edit"})

    reason = "it changed while the folder was being restored"
    assert folder.write(b"a", Entry(b"100644", "", 0o644), b"former") == reason
    assert folder.remove(b"b") == reason
    assert {content for _, _, content in state(tmp_path).values()} == {b"a person's edit"}


async def test_a_write_that_fails_leaves_the_file_and_no_litter(tmp_path: Path) -> None:
    put(tmp_path, {"a": "1"})
    folder = Folder(tmp_path, {b"a": Seen.of(os.lstat(tmp_path / "a"))})
    too_long = b"x" * 300
    assert folder.write(too_long, Entry(b"100644", "", 0o644), b"") == "File name too long"
    no_target = folder.write(b"a", Entry(b"120000", "", 0o777), b"nul\0")
    assert no_target == "what it should link to is no path"
    assert list(state(tmp_path)) == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
async def test_a_supervisor_that_runs_as_root_leaves_files_their_owner(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"a": "1", "folder/b": "2"})
    for path in (work, work / "a", work / "folder", work / "folder/b"):
        os.chown(path, 1234, 1235)
    snapshot = await taken(checkpoints)
    put(work, {"a": "changed"})
    shutil.rmtree(work / "folder")
    await checkpoints.restore(snapshot)
    owners = {os.lstat(path).st_uid for path in (work / "a", work / "folder", work / "folder/b")}
    assert owners == {1234}


async def test_in_a_folder_that_is_anothers_only_files_that_are_ours_are_touched(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    first = await taken(checkpoints)
    put(repository, {"tracked.txt": "by the agent", "src/b.py": "new"})
    (repository / "src/a.py").unlink()
    last = await taken(checkpoints)

    # A fresh clone, as the session found it, in which somebody has worked since.
    (repository / "src/b.py").unlink()
    put(repository, {"tracked.txt": "tracked", "src/a.py": "a", ".gitignore": "*.log\n# mine\n"})
    put(repository, {"mine.txt": "somebody's"})

    restored = await checkpoints.restore(last, ours=[first, last])

    assert (repository / "tracked.txt").read_text() == "by the agent"
    assert (repository / "src/b.py").read_text() == "new"
    assert not (repository / "src/a.py").exists()
    assert (repository / "mine.txt").read_text() == "somebody's"
    assert (repository / ".gitignore").read_text() == "*.log\n# mine\n"
    reason = "it is not as this session ever left it"
    assert restored.kept.first == (
        KeptFile(path=".gitignore", reason=reason),
        KeptFile(path="mine.txt", reason=reason),
    )
