"""What a tool call does, as far as its name and arguments tell: shared by detectors."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from detectors._commands import may_change
from supervisor.core.entry import ToolCall

__all__ = ["GIT", "Deed", "deed_of"]

GIT = r"\bgit(?:\s+-\S{1,80}(?:\s+[^\s-]\S{0,200})?){0,4}?\s+"
"""Pattern of git and its own options, up to its verb."""

_LONGEST_INPUT = 65_536
"""Bytes of arguments that are parsed; longer ones show neither command nor path."""
_LOOKED_AT = 2_000
"""Characters of a command that are looked at."""

_EDITORS = re.compile(
    r"(?:^|_)(?:(?:multi|notebook|file_?|str_replace_)?edit(?:or)?|write(?:_file)?|create_file"
    r"|str_replace\w*|apply_patch|insert)$",
    re.IGNORECASE,
)
"""Tools that write the file they name."""
_READERS = re.compile(
    r"(?:Read|Grep|Glob|LS|LSP|ToolSearch|TodoWrite|TodoRead|Task(?:Create|Update|List|Get|Stop)"
    r"|AskUserQuestion|ExitPlanMode|EnterPlanMode|NotebookRead)"
)
"""Claude Code's tools that only look at files, or keep track."""


class _Arguments(msgspec.Struct):
    command: str | None = None
    cmd: str | None = None
    file_path: str | None = None
    path: str | None = None
    notebook_path: str | None = None
    filename: str | None = None


_arguments = msgspec.json.Decoder(_Arguments)
_NOTHING = _Arguments()


@dataclass(slots=True, frozen=True)
class Deed:
    """One tool call."""

    command: str
    """The shell command's start, or empty."""
    path: str
    """The file it names, or empty."""
    edits: bool
    """Whether it writes that file."""

    tool: str

    @property
    def may_change(self) -> bool:
        """Whether anything may be different afterwards; unknown tools count."""
        if self.command:
            return may_change(self.command)
        return self.edits or not _READERS.fullmatch(self.tool)


def deed_of(call: ToolCall) -> Deed:
    """What `call` does.

    >>> place = {"session_id": "s", "transcript": "t", "seq": 1, "call_id": "c"}
    >>> given = msgspec.Raw(b'{"file_path": "/a/b.py", "old_string": "", "new_string": "x"}')
    >>> deed_of(ToolCall(**place, tool="Edit", input=given)).path
    '/a/b.py'
    >>> look = ToolCall(**place, tool="Bash", input=msgspec.Raw(b'{"command": "git log | head"}'))
    >>> deed_of(look).may_change
    False
    """
    given = _given(call)
    command = given.command or given.cmd or ""
    path = given.file_path or given.notebook_path or given.path or given.filename or ""
    edits = _EDITORS.search(call.tool) is not None and command not in {"view"}
    if edits:
        command = ""  # an editor's sub-command, such as `str_replace`
    return Deed(command[:_LOOKED_AT], path[:_LOOKED_AT], edits, call.tool[:128])


def _given(call: ToolCall) -> _Arguments:
    if len(memoryview(call.input)) > _LONGEST_INPUT:
        return _NOTHING
    try:
        return _arguments.decode(call.input)
    except (msgspec.DecodeError, RecursionError):
        return _NOTHING
