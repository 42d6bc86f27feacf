"""An agent's settings file, with Lucid's hooks in it and without them."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from supervisor.errors import SupervisorError
from supervisor.sidecar.json_text import insert, items_of, layout_of, remove
from supervisor.sidecar.snippet import is_ours

__all__ = ["change", "with_hooks", "without_hooks"]

_MODE = 0o600
"""Of a new file: a token is in it."""
_LARGEST = 4 * 1024 * 1024
_BOM = "\ufeff"


def with_hooks(text: str, hooks: Mapping[str, Mapping[str, Any]]) -> str:
    """A settings text with these matcher groups, in place of any of Lucid's that are there.
    Raises `ValueError`, which says where, for a text that is no settings."""
    text = without_hooks(text)
    layout = layout_of(text)
    for event, group in hooks.items():
        at = _place(text, "hooks")
        if at is None:
            text = insert(text, text.index("{"), "hooks", {event: [group]}, layout, 0)
            continue
        groups = _place(text, "hooks", event)
        if groups is None:
            text = insert(text, at, event, [group], layout, 1)
        else:
            text = insert(text, groups, "", group, layout, 2)
    return text


def without_hooks(text: str) -> str:
    """The text without any of Lucid's hooks, and without what holds nothing then."""
    settings = _checked(text)
    ours = [
        (event, number)
        for event, groups in settings.get("hooks", {}).items()
        for number, group in enumerate(groups)
        if is_ours(group)
    ]
    for event, number in reversed(ours):
        text = _without(text, event, number)
    return text


def _without(text: str, event: str, number: int) -> str:
    root = text.index("{")
    hooks, groups = _place(text, "hooks"), _place(text, "hooks", event)
    assert hooks is not None
    assert groups is not None
    if len(items_of(text, groups)) > 1:
        return remove(text, groups, number)
    events = items_of(text, hooks)
    if len(events) > 1:
        return remove(text, hooks, [item.key for item in events].index(event))
    return remove(text, root, [item.key for item in items_of(text, root)].index("hooks"))


def _place(text: str, *keys: str) -> int | None:
    """Where the value begins that stands under these keys."""
    at = text.index("{")
    for key in keys:
        found = [item.value for item in items_of(text, at) if item.key == key]
        if not found:
            return None
        at = found[0]
    return at


def _checked(text: str) -> dict[str, Any]:
    try:
        settings = json.loads(text, object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"no JSON: {error.msg} ({where})") from None
    except RecursionError:
        raise ValueError("nested too deep") from None
    if not isinstance(settings, dict):
        raise ValueError("no JSON object")
    hooks = settings.get("hooks", {})
    if not isinstance(hooks, dict) or not all(isinstance(one, list) for one in hooks.values()):
        raise ValueError("'hooks' is no object of lists")
    return settings


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands there twice")
    return found


def change(path: Path, hooks: Mapping[str, Mapping[str, Any]] | None) -> bool:
    """Put Lucid's hooks into a settings file, or take them out (None); returns whether that
    changed it. A file that is not there is made. A link is followed, and stays.

    Raises `SupervisorError` where the file is no settings, cannot be written, or was changed
    by somebody else meanwhile; it is as it was then.
    """
    try:
        file = path.resolve(strict=path.is_symlink())
        before = file.read_bytes() if file.exists() else None
        if before is None and hooks is None:
            return False
        after = _changed(before, hooks)
        if after == before:
            return False
        _replace(file, before, after)
    except (OSError, RuntimeError) as error:  # RuntimeError: a link to itself
        raise SupervisorError(f"the settings {path} cannot be changed: {error}") from error
    except ValueError as error:
        raise SupervisorError(f"the settings {path} are left as they are: {error}") from error
    return True


def _changed(before: bytes | None, hooks: Mapping[str, Mapping[str, Any]] | None) -> bytes:
    if before is not None and len(before) > _LARGEST:
        raise ValueError(f"more than {_LARGEST:,} bytes")
    text = "{}\n" if before is None or not before.strip() else before.decode()
    mark = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    changed = without_hooks(text) if hooks is None else with_hooks(text, hooks)
    return (mark + changed).encode()


def _replace(file: Path, before: bytes | None, after: bytes) -> None:
    """Write beside it, then put it in its place: nobody ever reads half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor, draft = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(after)
            out.flush()
            os.fsync(out.fileno())
        if before is None:
            os.chmod(draft, _MODE)
        else:
            _be_like(draft, file)
        if (file.read_bytes() if file.exists() else None) != before:
            raise ValueError("somebody else changed them just now; try again")
        os.replace(draft, file)
    except BaseException:
        os.unlink(draft)
        raise


def _be_like(draft: str, file: Path) -> None:
    now = file.stat()
    os.chmod(draft, now.st_mode & 0o7777)
    with suppress(PermissionError):  # it is somebody else's, and we are not root
        os.chown(draft, now.st_uid, now.st_gid)
