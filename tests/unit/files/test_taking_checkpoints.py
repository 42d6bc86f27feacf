"""What a checkpoint of a folder holds, and what it leaves alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot, Limits, PathList
from tests.unit.files.conftest import empty, git, put, state, with_times

pytestmark = pytest.mark.anyio


async def held(checkpoints: FileCheckpoints, elsewhere: Path) -> set[str]:
    """The paths that a checkpoint taken now would bring to an empty folder."""
    snapshot = await taken(checkpoints)
    empty(elsewhere)
    other = FileCheckpoints(elsewhere, elsewhere.with_name(f"{elsewhere.name}-store"))
    await other.import_(b"".join([chunk async for chunk in checkpoints.export(snapshot)]))
    await other.restore(snapshot)
    return set(state(elsewhere))


async def taken(checkpoints: FileCheckpoints) -> FileSnapshot:
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    return snapshot


async def test_unchanged_files_give_the_same_id_and_a_change_another(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"a": "1", "b/c": "22"})
    first = await taken(checkpoints)
    assert await taken(checkpoints) == first
    assert (first.files, first.bytes, first.cwd) == (2, 3, str(work))

    put(work, {"a": "2"})
    assert (await taken(checkpoints)).id != first.id

    put(work, {"a": "1"})
    assert await taken(checkpoints) == first


async def test_the_same_files_have_the_same_id_in_another_folder_and_store(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {"a": "1", "b/c": "2"})
    put(tmp_path / "twin", {"a": "1", "b/c": "2"})
    twin = FileCheckpoints(tmp_path / "twin", tmp_path / "other-store")
    assert (await taken(checkpoints)).id == (await taken(twin)).id


async def test_a_store_is_gone_on_with_by_another_process(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {"a": "1", "gone": "x"})
    first = await taken(checkpoints)
    (work / "gone").unlink()

    later = FileCheckpoints(work, tmp_path / "store")
    assert (await taken(later)).files == 1
    assert (await later.restore(first)).changes.added == PathList(count=1, first=("gone",))


async def test_an_empty_folder_can_be_checkpointed(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    nothing = await taken(checkpoints)
    put(work, {"a/b": "1"})
    await checkpoints.restore(nothing)
    assert (nothing.files, os.listdir(work)) == (0, [])


async def test_a_change_of_mode_or_of_a_links_target_is_a_change(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"run": "x"})
    (work / "link").symlink_to("run")
    ids = {(await taken(checkpoints)).id}
    for mode in (0o755, 0o600):
        (work / "run").chmod(mode)
        ids.add((await taken(checkpoints)).id)
    (work / "link").unlink()
    (work / "link").symlink_to("elsewhere")
    ids.add((await taken(checkpoints)).id)
    assert len(ids) == 4


async def test_a_work_tree_is_held_as_it_is_on_disk_not_as_it_was_staged(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(repository, {"tracked.txt": "edited", "new": "untracked", "staged": "then changed"})
    git(repository, "add", "staged")
    put(repository, {"staged": "changed", "x.log": "ignored", "secret/a": "ignored"})
    (repository / "src/a.py").unlink()

    assert await held(checkpoints, tmp_path / "there") == {
        ".gitignore",
        "new",
        "staged",
        "tracked.txt",
    }
    assert (tmp_path / "there/staged").read_text() == "changed"


async def test_what_git_tracks_is_held_though_it_is_ignored_or_has_a_secrets_name(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(repository, {"forced.log": "tracked", ".env": "tracked", "other.log": "ignored"})
    git(repository, "add", "--force", "forced.log", ".env")
    found = await held(checkpoints, tmp_path / "there")
    assert {"forced.log", ".env"} <= found
    assert "other.log" not in found


@pytest.mark.parametrize("versioned", [True, False])
async def test_secrets_and_bulk_are_left_out_whatever_a_gitignore_says(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path, versioned: bool
) -> None:
    put(work, {"a": "", ".gitignore": "!.env\n!node_modules/\n"})
    put(work, {".env": "", "deep/.env.local": "", "id_rsa": "", "deep/cert.pem": ""})
    put(work, {"node_modules/m/i.js": "", "deep/__pycache__/a.pyc": "", ".venv/bin/python": ""})
    if versioned:
        git(work, "init", "--quiet")
    assert await held(checkpoints, tmp_path / "there") == {"a", ".gitignore"}


async def test_the_clones_and_the_users_own_ignore_rules_hold_and_stay(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(tmp_path, {"home/.gitconfig": "[core]\n\texcludesFile = ~/mine\n", "home/mine": "*.mine\n"})
    put(repository, {".git/info/exclude": "/local\n", "local": "", "a.mine": "", "b": ""})
    before = await taken(checkpoints)
    assert before.files == 4

    put(repository, {".git/info/exclude": ""})
    await checkpoints.restore(before)
    assert (repository / "local").exists()


async def test_a_plain_folder_heeds_its_gitignore(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(work, {".gitignore": "build/\n", "build/a": "", "src/build.py": ""})
    assert await held(checkpoints, tmp_path / "there") == {".gitignore", "src/build.py"}


async def test_a_part_of_a_work_tree_is_held_alone_under_the_rules_of_the_whole(
    repository: Path, tmp_path: Path
) -> None:
    put(repository, {"src/b.log": "ignored above", "src/c": "", "outside": ""})
    part = FileCheckpoints(repository / "src", tmp_path / "store")
    assert await held(part, tmp_path / "there") == {"a.py", "c"}


async def test_a_folder_that_its_repository_ignores_is_one_of_its_own(
    repository: Path, tmp_path: Path
) -> None:
    put(repository, {"secret/scratch/a": "", "secret/scratch/b.log": ""})
    scratch = FileCheckpoints(repository / "secret/scratch", tmp_path / "store")
    assert await held(scratch, tmp_path / "there") == {"a", "b.log"}


async def test_nested_repositories_and_submodules_are_left_alone(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(tmp_path / "library", {"lib.py": ""})
    git(tmp_path / "library", "init", "--quiet")
    git(tmp_path / "library", "add", ".")
    git(tmp_path / "library", "commit", "--quiet", "--message=library")
    git(repository, "submodule", "--quiet", "add", str(tmp_path / "library"), "sub")
    put(repository, {"nested/a": "", "unborn/a": ""})
    git(repository / "nested", "init", "--quiet")
    git(repository / "nested", "add", ".")
    git(repository / "nested", "commit", "--quiet", "--message=nested")
    git(repository / "unborn", "init", "--quiet")

    found = await held(checkpoints, tmp_path / "there")
    assert found == {".gitignore", ".gitmodules", "src/a.py", "tracked.txt"}


async def test_a_linked_work_tree_is_a_work_tree(repository: Path, tmp_path: Path) -> None:
    git(repository, "worktree", "add", "--quiet", str(tmp_path / "linked"))
    put(tmp_path / "linked", {"x.log": "tracked"})
    git(tmp_path / "linked", "add", "--force", "x.log")
    linked = FileCheckpoints(tmp_path / "linked", tmp_path / "store")
    assert "x.log" in await held(linked, tmp_path / "there")


async def test_a_split_index_is_read_and_one_with_sha256_names_is_gone_without(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(repository, {"forced.log": ""})
    git(repository, "add", "--force", "forced.log")
    git(repository, "update-index", "--split-index")
    before = with_times(repository / ".git")
    assert "forced.log" in await held(checkpoints, tmp_path / "there")
    assert with_times(repository / ".git") == before

    put(tmp_path / "other", {"a": "", "b.log": "", ".gitignore": "*.log"})
    git(tmp_path / "other", "init", "--quiet", "--object-format=sha256")
    git(tmp_path / "other", "add", "--force", ".")
    other = FileCheckpoints(tmp_path / "other", tmp_path / "store2")
    assert await held(other, tmp_path / "there2") == {"a", ".gitignore"}


async def test_the_users_git_directory_stays_as_it_is_byte_for_byte(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    put(repository, {"new": "1", "tracked.txt": "edited"})
    git(repository, "add", "new")
    before = with_times(repository / ".git")
    first = await taken(checkpoints)
    put(repository, {"new": "2", "newer": "3"})
    await checkpoints.changes(first)
    restored = await checkpoints.restore(first)
    await checkpoints.restore(restored.before)
    assert with_times(repository / ".git") == before


async def test_a_checkpoint_does_not_mind_the_users_git_at_work(
    repository: Path, checkpoints: FileCheckpoints
) -> None:
    put(repository, {".git/index.lock": "", "new": ""})
    snapshot = await taken(checkpoints)
    assert snapshot.files == 4
    assert (repository / ".git/index.lock").exists()


@pytest.mark.parametrize(
    "attributes",
    ["* text=auto eol=crlf", "* text eol=lf", "* ident", "* working-tree-encoding=UTF-16"],
)
async def test_no_attribute_changes_a_byte(
    repository: Path, checkpoints: FileCheckpoints, attributes: str
) -> None:
    git(repository, "config", "core.autocrlf", "true")
    put(repository, {".gitattributes": attributes + "\n"})
    content = b"one\r\ntwo\n$Id: what a user wrote $\r\xff\xfe\0"
    (repository / "mixed.txt").write_bytes(content)
    snapshot = await taken(checkpoints)
    (repository / "mixed.txt").unlink()
    await checkpoints.restore(snapshot)
    assert (repository / "mixed.txt").read_bytes() == content


async def test_a_file_over_the_limit_of_one_is_left_out_and_never_touched(
    work: Path, tmp_path: Path
) -> None:
    limits = Limits(files=10, bytes=100, file_bytes=20)
    checkpoints = FileCheckpoints(work, tmp_path / "store", limits=limits)
    put(work, {"small": "1", "large": "x" * 21})
    snapshot = await taken(checkpoints)
    assert (snapshot.files, snapshot.left_out) == (1, PathList(count=1, first=("large",)))

    put(work, {"large": "shrunk", "small": "y" * 30})
    restored = await checkpoints.restore(snapshot)
    assert state(work)["large"][2] == b"shrunk"
    assert {file.path: file.reason for file in restored.kept.first} == {
        "large": "the snapshot had left it out",
        "small": "something that could not be kept a copy of is in its place",
    }


async def test_special_files_are_passed_over(
    work: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    os.mkfifo(work / "pipe")
    put(work, {"a": ""})
    assert await held(checkpoints, tmp_path / "there") == {"a"}
    await checkpoints.restore(await taken(checkpoints))
    assert (work / "pipe").exists()


async def test_changes_are_told_by_kind_and_bounded(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"kept": "", "edited": "1", "removed": ""})
    since = await taken(checkpoints)
    assert not await checkpoints.changes(since)

    put(work, {"edited": "2", **{f"new-{number:03}": "" for number in range(60)}})
    (work / "removed").unlink()
    changes = await checkpoints.changes(since)
    assert changes.modified == PathList(count=1, first=("edited",))
    assert changes.deleted == PathList(count=1, first=("removed",))
    assert (changes.added.count, len(changes.added.first)) == (60, 50)
    assert changes.added.first[0] == "new-000"


async def test_a_file_that_is_ignored_by_now_is_not_said_to_be_deleted(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"a.log": "", "b.log": "1"})
    since = await taken(checkpoints)
    put(work, {".gitignore": "*.log", "b.log": "2", "c.log": ""})
    changes = await checkpoints.changes(since)
    assert changes.deleted.count == 0
    assert (changes.added.first, changes.modified.first) == ((".gitignore",), ("b.log",))
