"""Whatever an agent does to its folder: it is brought back, and it is undone."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot
from tests.unit.files.conftest import State, state

Edit = Callable[[Path], None]

NAMES = ["a", "b", "run.sh", "new\nline", "ünï cödé", os.fsdecode(b"caf\xe9"), "x.log", "-n", "A"]
FOLDERS = ["", "d", "d/e", "d/e/f", "lib"]
RULES = ["*.log\n", "*.log\n*.sh\n", "d/\n", "*\n", "!x.log\n", "", "e/\n!a\n"]

paths = st.builds(os.path.join, st.sampled_from(FOLDERS), st.sampled_from(NAMES))
places = st.one_of(paths, st.sampled_from(FOLDERS[1:]))
contents = st.sampled_from(["", "1", "2", "one\r\ntwo\r\n", "\0\x01", "long " * 9000])


def _write(path: str, content: str) -> Edit:
    def edit(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content.encode())

    return edit


def _delete(path: str) -> Edit:
    def edit(root: Path) -> None:
        if (root / path).is_dir() and not (root / path).is_symlink():
            shutil.rmtree(root / path)
        else:
            (root / path).unlink()

    return edit


def _move(path: str, to: str) -> Edit:
    return lambda root: os.rename(root / path, root / to)


def _permit(path: str, mode: int) -> Edit:
    return lambda root: os.chmod(root / path, mode) if (root / path).is_file() else None


def _link(path: str, target: str) -> Edit:
    return lambda root: os.symlink(target, root / path)


def _make(path: str) -> Edit:
    return lambda root: (root / path).mkdir()


ordinary = st.one_of(
    st.builds(_write, paths, contents),
    st.builds(_write, paths, contents),
    st.builds(_delete, places),
    st.builds(_move, places, places),
    st.builds(_permit, paths, st.sampled_from([0o644, 0o755, 0o600, 0o444, 0o640])),
    st.builds(_link, places, st.sampled_from(["a", "d", "..", "/etc", "nowhere"])),
    st.builds(_make, places),
)
rules = st.builds(
    _write,
    st.sampled_from([".gitignore", "d/.gitignore", "d/e/.gitignore"]),
    st.sampled_from(RULES),
)
removals = st.builds(_delete, st.sampled_from([".gitignore", "d/.gitignore"]))


def some(edits: st.SearchStrategy[Edit]) -> st.SearchStrategy[list[Edit]]:
    return st.lists(edits, min_size=1, max_size=12)


quick = settings(
    max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


def apply(edits: list[Edit], root: Path) -> None:
    for edit in edits:
        with suppress(OSError):
            edit(root)


def is_ignored(path: str) -> bool:
    """By the rule `*.log`, which holds for folders too."""
    return any(part.endswith(".log") for part in path.split(os.sep))


def heeded(found: State) -> State:
    """Without what is ignored."""
    return {path: file for path, file in found.items() if not is_ignored(path)}


async def taken(checkpoints: FileCheckpoints) -> FileSnapshot:
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    return snapshot


async def carry(snapshot: FileSnapshot, source: FileCheckpoints, target: FileCheckpoints) -> None:
    await target.import_(b"".join([chunk async for chunk in source.export(snapshot)]))


@quick
@given(some(ordinary), some(ordinary), st.booleans())
def test_edits_are_taken_back_and_the_restore_is_undone(
    before: list[Edit], after: list[Edit], versioned: bool
) -> None:
    async def story(root: Path, elsewhere: Path, store: Path) -> None:
        checkpoints = FileCheckpoints(root, store / "here")
        snapshot, at_first = await taken(checkpoints), state(root)
        apply(after, root)
        later = state(root)

        restored = await checkpoints.restore(snapshot)
        # An ignored file below a folder that took a file's place keeps that place.
        if restored.kept.count == 0:
            assert heeded(state(root)) == heeded(at_first)
            assert (await taken(checkpoints)).id == snapshot.id
        ignored = {path: file for path, file in later.items() if is_ignored(path)}
        assert ignored.items() <= state(root).items()

        undone = await checkpoints.restore(restored.before)
        assert undone.kept.count == 0
        assert state(root) == later

        others = FileCheckpoints(elsewhere, store / "there")
        await carry(snapshot, checkpoints, others)
        await others.restore(snapshot)
        assert heeded(state(elsewhere)) == heeded(at_first)

    _play(story, [_write(".gitignore", "*.log\n"), *before], versioned)


@quick
@given(some(st.one_of(ordinary, rules)), some(st.one_of(ordinary, rules, removals)))
def test_edits_of_the_rules_are_taken_back_too(before: list[Edit], after: list[Edit]) -> None:
    async def story(root: Path, _: Path, store: Path) -> None:
        checkpoints = FileCheckpoints(root, store / "here")
        snapshot, at_first = await taken(checkpoints), state(root)
        apply(after, root)
        later = state(root)

        restored = await checkpoints.restore(snapshot)
        if restored.kept.count == 0:
            left = await checkpoints.changes(snapshot)
            assert left.modified.count == left.deleted.count == 0
            # What was ignored then is kept though the rule that ignored it is gone.
            assert left.added.count == 0 or snapshot.files < len(at_first)
        # Nothing that was there at first and still is as it was has gone.
        untouched = at_first.items() & later.items()
        assert untouched <= state(root).items()

        undone = await checkpoints.restore(restored.before)
        if undone.kept.count == 0:
            assert later.items() <= state(root).items()
            # What was brought back stays where the later rules ignore it.
            assert state(root).keys() - later.keys() <= at_first.keys()

    _play(story, before, versioned=False)


def _play(
    story: Callable[[Path, Path, Path], Coroutine[None, None, None]],
    before: list[Edit],
    versioned: bool,
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root, elsewhere, store = (Path(folder) / name for name in ("work", "there", "store"))
        root.mkdir()
        elsewhere.mkdir()
        apply(before, root)
        if versioned:
            subprocess.run(["git", "init", "--quiet"], cwd=root, check=True)
        asyncio.run(story(root, elsewhere, store))
