"""Changing a JSON text where it has to change, and leaving every other byte as it is."""

from __future__ import annotations

import json
from json.decoder import JSONDecodeError, scanstring  # type: ignore[attr-defined] # not in its stubs
from typing import Any, NamedTuple

__all__ = ["Item", "Layout", "insert", "items_of", "layout_of", "remove"]

_SPACE = " \t\n\r"
_DECODER = json.JSONDecoder()


class Item(NamedTuple):
    """A member of an object, or an element of an array, and where it stands in the text."""

    key: str
    """Empty in an array."""
    start: int
    """Where the item begins; a member's key is a part of it."""
    value: int
    """Where its value begins."""
    end: int


class Layout(NamedTuple):
    """How a text is set."""

    newline: str
    """Empty where all of it stands on one line."""
    indent: str
    """Of one level."""


def items_of(text: str, at: int) -> list[Item]:
    """The items of the object or array that begins at `at`, of a text that is JSON."""
    is_object = text[at] == "{"
    items: list[Item] = []
    place = _skip(text, at + 1)
    while text[place] not in "}]":
        start, key = place, ""
        if is_object:
            key, place = scanstring(text, place + 1)
            place = _skip(text, _skip(text, place) + 1)
        _, end = _DECODER.raw_decode(text, place)
        items.append(Item(key, start, place, end))
        place = _skip(text, end)
        if text[place] == ",":
            place = _skip(text, place + 1)
    return items


def insert(text: str, at: int, key: str, value: Any, layout: Layout, depth: int) -> str:
    """The text with one more item at the end of the object or array at `at`, which stands
    `depth` levels deep; `key` is empty for an array."""
    items = items_of(text, at)
    said = f"{json.dumps(key)}: " if key else ""
    inner = layout.newline + layout.indent * (depth + 1) if layout.newline else ""
    new = said + _dumped(value, layout, depth + 1)
    if items:
        end = items[-1].end
        return f"{text[:end]},{inner or ' '}{new}{text[end:]}"
    close = _skip(text, at + 1)
    outer = layout.newline + layout.indent * depth if layout.newline else ""
    return f"{text[: at + 1]}{inner}{new}{outer}{text[close:]}"


def remove(text: str, at: int, which: int) -> str:
    """The text without an item of the object or array at `at`: the reverse of `insert`."""
    items = items_of(text, at)
    item = items[which]
    if which > 0:
        return text[: items[which - 1].end] + text[item.end :]
    if len(items) > 1:
        return text[: item.start] + text[items[1].start :]
    return text[: at + 1] + text[_skip(text, item.end) :]


def layout_of(text: str) -> Layout:
    """How the object that is a whole text is set; two spaces where it does not show."""
    items = items_of(text, _skip(text, 0))
    newline = "\r\n" if "\r\n" in text else "\n"
    if not items:
        return Layout(newline, "  ")
    before = text[: items[0].start]
    if "\n" not in before:
        return Layout("", "")
    return Layout(newline, before.rpartition("\n")[2] or "  ")


def _dumped(value: Any, layout: Layout, depth: int) -> str:
    if not layout.newline:
        return json.dumps(value, ensure_ascii=False)
    lines = json.dumps(value, ensure_ascii=False, indent=layout.indent).split("\n")
    return (layout.newline + layout.indent * depth).join(lines)


def _skip(text: str, place: int) -> int:
    while place < len(text) and text[place] in _SPACE:
        place += 1
    if place == len(text):
        raise JSONDecodeError("Unexpected end", text, place)
    return place
