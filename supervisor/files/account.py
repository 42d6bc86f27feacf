"""What happened to files, told to the agent they belong to."""

from __future__ import annotations

from supervisor.core.feedback import quote
from supervisor.files.model import FileChanges, PathList, Restored

__all__ = ["account_of_changes", "account_of_differences", "account_of_restore"]

_NAMED = 8
"""Paths of a list that are named: a prompt is no place for more."""


def account_of_changes(changes: FileChanges) -> str:
    """What was done to the folder, one line a kind; empty where nothing was."""
    return _lines(
        ("Created", changes.added), ("Changed", changes.modified), ("Deleted", changes.deleted)
    )


def account_of_differences(changes: FileChanges) -> str:
    """How a folder differs from a checkpoint that may be of another folder, one line a kind;
    empty where it does not."""
    return _lines(
        ("Only here", changes.added),
        ("Different here", changes.modified),
        ("Missing here", changes.deleted),
    )


def account_of_restore(restored: Restored) -> str:
    """What a restore did, and what it left as it was; says so where that is nothing."""
    changes = restored.changes
    done = _lines(
        ("Brought back", changes.added),
        ("Set back", changes.modified),
        ("Removed, created since", changes.deleted),
    )
    kept = [
        f"- Left as it is: {quote(file.path, 120)} ({file.reason})"
        for file in restored.kept.first[:_NAMED]
    ]
    more = restored.kept.count - len(kept)
    if more > 0:
        kept.append(f"- Left as they are: {more} more")
    return "\n".join(filter(None, [done, *kept])) or "- No file differed."


def _lines(*lists: tuple[str, PathList]) -> str:
    return "\n".join(f"- {what}: {_named(paths)}" for what, paths in lists if paths.count)


def _named(paths: PathList) -> str:
    """
    >>> _named(PathList.of([b"a", b"b"]))
    '"a", "b"'
    """
    named = [quote(path, 120) for path in paths.first[:_NAMED]]
    more = paths.count - len(named)
    return ", ".join(named) + (f" and {more} more" if more else "")
