"""A working folder to checkpoint, plain or under git, and what is to be said of it."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from supervisor.files.checkpoints import FileCheckpoints

State = dict[str, tuple[str, int, bytes]]
"""Path to kind, permissions and content of each file and link below a folder."""


@pytest.fixture(autouse=True)
def _no_configuration_of_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("GIT_CONFIG_GLOBAL", raising=False)


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """An empty working folder."""
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture
def repository(work: Path) -> Path:
    """The working folder as a git work tree with one commit."""
    put(work, {"tracked.txt": "tracked", "src/a.py": "a", ".gitignore": "*.log\n/secret\n"})
    git(work, "init", "--quiet")
    git(work, "add", "--all")
    git(work, "commit", "--quiet", "--message=first")
    return work


@pytest.fixture
def checkpoints(work: Path, tmp_path: Path) -> FileCheckpoints:
    """The working folder's checkpoints."""
    return FileCheckpoints(work, tmp_path / "store")


def git(folder: Path, *arguments: str) -> str:
    """Run git in a folder as a user would; returns what it printed."""
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    allowed = ("-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *identity, *allowed, *arguments],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout


def put(folder: Path, files: dict[str, str]) -> None:
    """Write files, with the folders they lie in."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def empty(folder: Path) -> None:
    """Remove everything in a folder, which may not be there yet."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()


def state(folder: Path) -> State:
    """Everything below a folder but its `.git` and empty folders."""
    found: State = {}
    for parent, folders, names in os.walk(folder):
        if ".git" in folders:
            folders.remove(".git")
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]
        for name in names + links:
            path = os.path.join(parent, name)
            found[os.path.relpath(path, folder)] = _file(path)
    return found


def _file(path: str) -> tuple[str, int, bytes]:
    mode = os.lstat(path).st_mode
    if stat.S_ISLNK(mode):
        return "link", 0, os.fsencode(os.readlink(path))
    if not stat.S_ISREG(mode):
        return "special", 0, b""
    return "file", stat.S_IMODE(mode), Path(path).read_bytes()


def with_times(folder: Path) -> dict[str, tuple[bytes, int, int]]:
    """Every file below a folder, byte for byte, with its mode and time of change."""
    return {
        str(path.relative_to(folder)): (
            path.read_bytes() if path.is_file() else b"",
            path.lstat().st_mode,
            path.lstat().st_mtime_ns,
        )
        for path in sorted(folder.rglob("*"))
    }
