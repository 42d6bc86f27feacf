"""Checkpoints are kept elsewhere and brought back on another host."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from supervisor.errors import FilesError
from supervisor.files.checkpoints import FileCheckpoints
from supervisor.files.model import FileSnapshot
from tests.unit.files.conftest import git, put, state

pytestmark = pytest.mark.anyio


@pytest.fixture
def there(tmp_path: Path) -> Path:
    """The working folder on the other host."""
    (tmp_path / "there").mkdir()
    return tmp_path / "there"


@pytest.fixture
def others(there: Path, tmp_path: Path) -> FileCheckpoints:
    """The other host's checkpoints of it."""
    return FileCheckpoints(there, tmp_path / "store-there")


async def taken(checkpoints: FileCheckpoints) -> FileSnapshot:
    snapshot = await checkpoints.take()
    assert snapshot is not None, checkpoints.refusal
    return snapshot


async def exported(
    checkpoints: FileCheckpoints, snapshot: FileSnapshot, since: FileSnapshot | None = None
) -> bytes:
    return b"".join([chunk async for chunk in checkpoints.export(snapshot, since)])


async def test_another_host_restores_into_an_empty_folder(
    repository: Path, checkpoints: FileCheckpoints, there: Path, others: FileCheckpoints
) -> None:
    put(repository, {"untracked": "1", "x.log": "ignored"})
    (repository / "src/a.py").chmod(0o640)
    (repository / "link").symlink_to("src")
    snapshot = await taken(checkpoints)

    assert await others.import_(await exported(checkpoints, snapshot)) == snapshot
    await others.restore(snapshot)
    assert state(there) == {
        path: file for path, file in state(repository).items() if path != "x.log"
    }
    assert (await taken(others)).id == snapshot.id


async def test_another_host_restores_into_a_fresh_clone(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    put(repository, {"tracked.txt": "edited", "untracked": "1"})
    snapshot = await taken(checkpoints)
    git(tmp_path, "clone", "--quiet", str(repository), "clone")
    put(tmp_path / "clone", {"own.log": "ignored", "stray": ""})

    others = FileCheckpoints(tmp_path / "clone", tmp_path / "store-there")
    await others.import_(await exported(checkpoints, snapshot))
    restored = await others.restore(snapshot)
    assert restored.changes.deleted.first == ("stray",)
    found = state(tmp_path / "clone")
    assert found.pop("own.log")
    assert found == state(repository)


async def test_a_snapshot_survives_being_stored_as_json(
    work: Path, checkpoints: FileCheckpoints
) -> None:
    put(work, {"a": "1"})
    snapshot, before = await taken(checkpoints), state(work)
    stored = msgspec.json.encode(snapshot)
    (work / "a").unlink()
    await checkpoints.restore(msgspec.json.decode(stored, type=FileSnapshot))
    assert state(work) == before


async def test_exports_build_on_each_other_and_stay_small(
    work: Path, checkpoints: FileCheckpoints, there: Path, others: FileCheckpoints
) -> None:
    put(
        work,
        {
            f"{number}": str(list(range(number, 9**number, 9**number // 99 + 1)))
            for number in range(90)
        },
    )
    first = await taken(checkpoints)
    put(work, {"7": "changed"})
    second = await taken(checkpoints)
    whole = await exported(checkpoints, first)
    increment = await exported(checkpoints, second, first)
    assert len(increment) < len(whole) / 5

    with pytest.raises(FilesError, match="import it first"):
        await others.import_(increment)
    await others.import_(whole)
    await others.import_(increment)
    await others.import_(increment)
    await others.restore(second)
    assert state(there) == state(work)
    await others.restore(first)
    assert (there / "7").read_text() != "changed"


async def test_an_export_of_what_did_not_change_is_almost_nothing(
    work: Path, checkpoints: FileCheckpoints, others: FileCheckpoints
) -> None:
    put(work, {"a": "1"})
    snapshot = await taken(checkpoints)
    await others.import_(await exported(checkpoints, snapshot))
    nothing = await exported(checkpoints, snapshot, snapshot)
    assert len(nothing) < 400
    assert await others.import_(nothing) == snapshot


async def test_an_import_takes_chunks_of_any_size(
    work: Path, checkpoints: FileCheckpoints, others: FileCheckpoints
) -> None:
    put(work, {"a": "1"})
    snapshot = await taken(checkpoints)
    data = await exported(checkpoints, snapshot)

    async def drops() -> AsyncIterator[bytes]:
        for start in range(0, len(data), 7):
            yield data[start : start + 7]

    assert await others.import_(drops()) == snapshot


async def test_a_damaged_export_is_refused_and_harms_nothing(
    work: Path, checkpoints: FileCheckpoints, others: FileCheckpoints
) -> None:
    put(work, {"a": "1" * 100, "b": "2"})
    snapshot = await taken(checkpoints)
    data = await exported(checkpoints, snapshot)
    line, _, pack = data.partition(b"\n")
    broken = bytearray(pack)
    broken[len(pack) // 2] ^= 0xFF
    for bad, message in (
        (b"", "no export"),
        (b"\x80\n" + pack, "no export"),
        (line.replace(b'"lucid_files":1', b'"lucid_files":2') + b"\n" + pack, "has format 2"),
        (line, "index-pack failed"),
        (data[:-30], "index-pack failed"),
        (line + b"\n" + bytes(broken), "index-pack failed"),
        (line.replace(snapshot.id.encode(), b"0" * 40) + b"\n" + pack, "no checkpoint of files"),
    ):
        with pytest.raises(FilesError, match=message):
            await others.import_(bad)
    assert await others.import_(data) == snapshot


async def test_an_unknown_snapshot_cannot_be_exported(checkpoints: FileCheckpoints) -> None:
    with pytest.raises(FilesError, match="no checkpoint of files"):
        await exported(checkpoints, FileSnapshot(id="1" * 40, cwd="", files=0, bytes=0))


async def test_a_store_says_which_checkpoints_it_has(
    repository: Path, checkpoints: FileCheckpoints, tmp_path: Path
) -> None:
    snapshot = await checkpoints.take()
    assert snapshot is not None
    elsewhere = FileCheckpoints(repository, tmp_path / "elsewhere")

    assert await checkpoints.has(snapshot.id)
    assert not await elsewhere.has(snapshot.id)
    assert not await checkpoints.has("--all")
