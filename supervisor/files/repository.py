"""Which git work tree a folder belongs to, found without asking git.

A repository is untrusted, and its configuration can name programs that git would run.
So no git command ever gets it as its `GIT_DIR`; only these two files of it are read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Repository", "find_repository", "read_small"]

_MOST_BYTES = 1024 * 1024
_OTHER_NAMES = re.compile(r"objectformat\s*=\s*\"?sha256", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Repository:
    """A work tree, and what is read of its git directory."""

    top: Path
    index: Path | None
    """What git tracks; None where its format is not ours (SHA-256 names)."""
    exclude: Path
    """Ignore rules of this clone alone."""


def find_repository(folder: Path) -> Repository | None:
    """The work tree around `folder`, which is absolute and without links; None if none."""
    for top in (folder, *folder.parents):
        try:
            git_dir = _git_dir(top / ".git")
        except (OSError, ValueError):  # a name too long, or with a NUL in it
            continue
        if git_dir is not None:
            return _repository(top, git_dir)
    return None


def read_small(path: Path) -> str:
    """A file's text, as much of it as a small file can have; empty where there is none."""
    try:
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8", "surrogateescape")
    except OSError:
        return ""


def _git_dir(path: Path) -> Path | None:
    if not path.is_dir():
        text = read_small(path)
        if not text.startswith("gitdir:"):
            return None
        path = path.parent / text.removeprefix("gitdir:").strip()
    return path if (path / "HEAD").is_file() else None


def _repository(top: Path, git_dir: Path) -> Repository:
    shared = read_small(git_dir / "commondir").strip()
    common = git_dir / shared if shared else git_dir
    foreign = _OTHER_NAMES.search(read_small(common / "config"))
    index = None if foreign else git_dir / "index"
    return Repository(top, index, common / "info" / "exclude")
