"""The agent's own to-do list, as its calls of the to-do tools leave it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from detectors._awaited import Awaited
from supervisor.core.entry import Entry, ToolCall, ToolResult
from supervisor.core.text import one_line

__all__ = ["Todos"]

_MOST = 16
"""Open to-dos remembered; a longer list keeps its first ones."""
_LONGEST = 60
"""Characters of a to-do that a verdict quotes; with all of them, it is cut anyway."""
_OPEN = frozenset({"pending", "in_progress"})
_CREATED = re.compile(r"Task #(\w{1,16}) created")


class _Item(msgspec.Struct):
    content: str = ""
    status: str = ""


class _List(msgspec.Struct):
    todos: list[_Item] = []


class _Task(msgspec.Struct, rename="camel"):
    subject: str = ""
    task_id: str = ""
    status: str | None = None


_lists = msgspec.json.Decoder(_List)
_tasks = msgspec.json.Decoder(_Task)


class Todos:
    """Follows TodoWrite, which gives the whole list, and TaskCreate and TaskUpdate."""

    def __init__(self) -> None:
        self._open: dict[str, bytes] = {}
        """Its words in UTF-8, which keeps them small, by its number."""
        self._creating = Awaited[bytes]()

    def open(self) -> tuple[str, ...]:
        """The open to-dos, one line each, oldest first."""
        return tuple(words.decode(errors="ignore") for words in self._open.values())

    def any(self) -> bool:
        """Whether there are open ones."""
        return bool(self._open)

    def clear(self) -> None:
        """Forget the list."""
        self._open.clear()
        self._creating.clear()

    def observe(self, entry: Entry) -> None:
        """Take the next entry. A call whose input is not as expected changes nothing."""
        if isinstance(entry, ToolCall) and entry.tool in {"TodoWrite", "TaskCreate", "TaskUpdate"}:
            try:
                self._take(entry)
            except (msgspec.DecodeError, RecursionError):
                return
        elif isinstance(entry, ToolResult) and self._creating:
            self._number(entry)

    def _take(self, call: ToolCall) -> None:
        if call.tool == "TodoWrite":
            items = _lists.decode(call.input).todos
            self._open = dict(_opened(items))
            return
        task = _tasks.decode(call.input)
        if call.tool == "TaskCreate":
            self._creating.add(call.call_id, _words(task.subject))
        elif task.status is not None and task.status not in _OPEN:
            self._open.pop(task.task_id, None)

    def _number(self, result: ToolResult) -> None:
        subject = self._creating.pop(result.call_id)
        if subject is None or len(self._open) >= _MOST:
            return
        if found := _CREATED.search(result.text[:200]):
            self._open[found[1]] = subject


def _words(todo: str) -> bytes:
    return one_line(todo, _LONGEST).encode(errors="replace")[:_LONGEST]


def _opened(items: list[_Item]) -> Iterator[tuple[str, bytes]]:
    open_items = (item for item in items if item.status in _OPEN)
    for number, item in zip(range(_MOST), open_items, strict=False):
        yield str(number), _words(item.content)
