"""A policy's YAML as plain values, each with its place in the file.

The YAML is a safe subset: one document; text, numbers, true, false, null, lists and
mappings with text keys. Only `true` and `false` are booleans, so the key `on` is text.
Aliases and tags are refused: a policy needs neither, and an alias can blow a small file
up to any size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal, TypeAlias

import yaml
from yaml.reader import ReaderError

from supervisor.errors import PolicyError, Problem

__all__ = [
    "MAX_BYTES",
    "Document",
    "Json",
    "Loc",
    "Where",
    "read_document",
    "too_large",
    "whole_file",
]

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Loc: TypeAlias = tuple[int | str, ...]
"""Keys and list positions that lead from the document's top to a value."""
Where: TypeAlias = Literal["value", "key", "missing"]
"""What of a `Loc` is at fault: its value, its key, or that it is not there."""

MAX_BYTES = 1 << 20
"""Larger files are refused. The shipped policies have about 3 KB."""
MAX_DEPTH = 32
"""Deeper nesting is refused; a policy needs about 8 levels."""

_PLAIN_NAME = re.compile(r"[\w-]+")


class Document:
    """The values of one policy file and where each of them stands."""

    def __init__(self, file: str, root: yaml.Node) -> None:
        self.file = file
        self.problems: list[Problem] = []
        """Faults of the document itself: repeated keys, keys that are not text."""
        self._values: dict[Loc, yaml.Mark] = {}
        self._keys: dict[Loc, yaml.Mark] = {}
        self.data = self._value(root, ())

    def problem(self, loc: Loc, where: Where, reason: str) -> Problem:
        """A fault at `loc`, or at the nearest value above it that the file has."""
        there = loc
        while there not in self._values:
            there = there[:-1]
        mark = self._values[there]
        if where == "key" and there == loc:
            mark = self._keys.get(loc, mark)
        if where == "missing":
            there = loc[: len(there) + 1]
        return _problem(self.file, mark, _path(there), reason)

    def _value(self, node: yaml.Node, loc: Loc) -> Json:
        self._values[loc] = node.start_mark
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, loc)
        if isinstance(node, yaml.SequenceNode):
            return [self._value(item, (*loc, index)) for index, item in enumerate(node.value)]
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, loc: Loc) -> Json:
        values: dict[str, Json] = {}
        for key, value in node.value:
            at = (*loc, str(key.value)) if isinstance(key, yaml.ScalarNode) else loc
            if key.tag != _tag("str"):
                self._fault(key, at, "a key must be text; write it in quotes if it is a name")
            elif at in self._keys:
                first = self._keys[at].line + 1
                self._fault(key, at, f"repeated key {key.value!r}; it stands in line {first} too")
            else:
                self._keys[at] = key.start_mark
                values[key.value] = self._value(value, at)
        return values

    def _fault(self, node: yaml.Node, loc: Loc, reason: str) -> None:
        self.problems.append(_problem(self.file, node.start_mark, _path(loc), reason))


def read_document(text: str, file: str) -> Document:
    """Read `text`, which stands in `file`.

    Raises `PolicyError` with one problem where it is not YAML or not the subset.
    """
    if len(text) > MAX_BYTES:
        raise too_large(file)
    with _syntax_as_problem(text, file):
        root = _Loader(text).get_single_node()
    if root is None:
        raise whole_file(file, "is empty; a policy begins with 'version: 1'")
    return Document(file, root)


def whole_file(file: str, reason: str, line: int = 1, column: int = 1) -> PolicyError:
    """The error of a file that cannot be read as a document at all."""
    return PolicyError([Problem(file, line, column, _path(()), reason)])


def too_large(file: str) -> PolicyError:
    """The error of a file of more than `MAX_BYTES`."""
    return whole_file(file, f"is larger than {MAX_BYTES >> 20} MiB; a policy is a few KB")


@contextmanager
def _syntax_as_problem(text: str, file: str) -> Iterator[None]:
    try:
        yield
    except yaml.MarkedYAMLError as error:
        reason = ", ".join(part for part in (error.context, error.problem) if part)
        if not isinstance(error, _Refused):
            reason = f"not valid YAML: {reason}"
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line, mark.column) if mark else (0, 0)
        raise whole_file(file, reason, line + 1, column + 1) from None
    except ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        reason = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise whole_file(file, reason, line + 1, column + 1) from None


class _Refused(yaml.MarkedYAMLError):
    """Valid YAML that a policy may not use."""

    def __init__(self, event: yaml.Event, reason: str) -> None:
        super().__init__(
            problem=reason,
            problem_mark=event.start_mark,  # type: ignore[arg-type] # may be the C parser's
        )


class _Loader(yaml.SafeLoader):
    """Composes nodes only; values are taken from them by `_scalar`."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's own class attribute
    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event: yaml.Event = self.peek_event()  # type: ignore[no-untyped-call]  # not in the stubs
        if isinstance(event, yaml.AliasEvent):
            alias = event.anchor
            raise _Refused(event, f"the alias '*{alias}' is not supported; write the value itself")
        if tag := getattr(event, "tag", None):
            raise _Refused(event, f"the tag {tag!r} is not supported; write a plain value")
        if self._depth == MAX_DEPTH:
            raise _Refused(event, f"nested deeper than {MAX_DEPTH} levels")
        self._depth += 1
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def _tag(name: str) -> str:
    return f"tag:yaml.org,2002:{name}"


# The core schema of YAML 1.2, without infinities; digits are bounded so that every
# number fits its type. What matches nothing is text.
for _name, _pattern in (
    ("null", r"(?:~|null|Null|NULL|)\Z"),
    ("bool", r"(?:true|True|TRUE|false|False|FALSE)\Z"),
    ("int", r"[-+]?[0-9]{1,18}\Z"),
    ("float", r"[-+]?(?:\.[0-9]{1,18}|[0-9]{1,18}(?:\.[0-9]{0,18})?)(?:[eE][-+]?[0-9]{1,2})?\Z"),
):
    _Loader.add_implicit_resolver(_tag(_name), re.compile(_pattern), None)


def _scalar(node: yaml.Node) -> Json:
    text = str(node.value)
    if node.tag == _tag("null"):
        return None
    if node.tag == _tag("bool"):
        return text.lower() == "true"
    if node.tag == _tag("int"):
        return int(text)
    return float(text) if node.tag == _tag("float") else text


def _problem(file: str, mark: yaml.Mark, path: str, reason: str) -> Problem:
    return Problem(file, mark.line + 1, mark.column + 1, path, reason)


def _path(loc: Loc) -> str:
    """`("rules", 0, "on")` as `rules[0].on`; the document itself as `document`."""
    path = ""
    for step in loc:
        if isinstance(step, int):
            path += f"[{step}]"
        elif _PLAIN_NAME.fullmatch(step):
            path += f".{step}"
        else:
            path += f"[{json.dumps(step[:60], ensure_ascii=False)}]"
    return path.removeprefix(".") or "document"
