"""`include`: a policy's files as one document, in which each value knows its file.

Included files come first, in their order, and each is overridden by those after it and by
the file that includes it. Mappings are merged key by key, two levels deep (`limits` and
`limits.interventions`); other values are replaced. A rule of a name that is there already
replaces that rule's keys and keeps its place; new rules come before the included ones.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from supervisor.core.text import shown
from supervisor.errors import PolicyError, Problem
from supervisor.policy.document import (
    MAX_BYTES,
    Document,
    Json,
    Loc,
    Where,
    read_document,
    too_large,
    whole_file,
)
from supervisor.policy.faults import unknown
from supervisor.policy.shipped import shipped_policies, shipped_policy

__all__ = ["Sources", "find_policy", "read_text"]

_MERGED_DEPTH = 2
"""`limits` and `limits.interventions` are merged, `limits.interventions.then` is replaced."""

_Origin = tuple[Document, Loc]


@dataclass
class _Rule:
    """A rule as it is merged, and where its parts stand."""

    value: Json
    origin: _Origin
    keys: dict[str, _Origin] = field(default_factory=dict)

    @property
    def name(self) -> str | None:
        name = self.value.get("name") if isinstance(self.value, dict) else None
        return name if isinstance(name, str) else None

    def override(self, value: Mapping[str, Json], origin: _Origin) -> None:
        document, loc = origin
        self.value = {**cast(dict[str, Json], self.value), **value}
        self.origin = origin
        self.keys |= {key: (document, (*loc, key)) for key in value}


class Sources:
    """A policy's own document and those that it includes."""

    def __init__(self, text: str, file: str) -> None:
        """Read `text`, which stands in `file`, and what it includes. Raises `PolicyError`
        where the text itself cannot be read; what else is at fault is in `problems`."""
        self.problems: list[Problem] = []
        self.files: list[str] = []
        """Every file that was read or looked for, the policy's own first."""
        self._documents: list[Document] = []
        self._origins: dict[Loc, _Origin] = {}
        self._rules: list[_Rule] = []
        self._take(read_document(text, file), ())
        self.data: Json = self._merged()

    def problem(self, loc: Loc, where: Where, reason: str) -> Problem:
        """A fault at `loc` of the merged document, in the file that the value is from."""
        for length in range(len(loc), -1, -1):
            if loc[:length] in self._origins:
                document, base = self._origins[loc[:length]]
                return document.problem((*base, *loc[length:]), where, reason)
        return self._documents[-1].problem(loc, where, reason)

    def order(self, problem: Problem) -> tuple[int, int, int]:
        """What problems are sorted by: file by file, from top to bottom."""
        return self.files.index(problem.file), problem.line, problem.column

    def _take(self, document: Document, above: tuple[str, ...]) -> None:
        """Take a document behind those that it includes."""
        self.files.append(document.file)
        self.problems += document.problems
        stack = (*above, document.file)
        for loc, path in self._included(document):
            chain = [Path(file).resolve() for file in stack]
            if path.resolve() in chain:
                way = " -> ".join([*stack[chain.index(path.resolve()) :], str(path)])
                self.problems.append(document.problem(loc, "value", f"includes itself: {way}"))
            elif str(path) not in self.files:
                self._include(path, stack)
        self._documents.append(document)

    def _include(self, path: Path, above: tuple[str, ...]) -> None:
        try:
            document = read_document(read_text(path), str(path))
        except PolicyError as error:
            self.files.append(str(path))
            self.problems += error.problems
            return
        self._take(document, above)
        self._check_version(document)

    def _check_version(self, document: Document) -> None:
        version = document.data.get("version") if isinstance(document.data, dict) else 1
        if type(version) is int and version == 1:
            return
        where: Where = "missing" if version is None else "value"
        reason = (
            "is missing"
            if version is None
            else f"must be 1, the version this Lucid reads, not {shown(version)}"
        )
        self.problems.append(document.problem(("version",), where, reason))

    def _included(self, document: Document) -> Iterator[tuple[Loc, Path]]:
        """The files that a document includes, and where it says so."""
        data = document.data
        listed = data.get("include", []) if isinstance(data, dict) else []
        if isinstance(listed, str):
            listed = [listed]
        if not isinstance(listed, list):
            reason = f"must be a list of policies, not {shown(listed)}"
            self.problems.append(document.problem(("include",), "value", reason))
            return
        for index, item in enumerate(listed):
            loc: Loc = ("include", index)
            if not isinstance(item, str) or not item:
                reason = f"must be a file or a shipped policy's name, not {shown(item)}"
                self.problems.append(document.problem(loc, "value", reason))
                continue
            path = _sought(item, Path(document.file).parent)
            if path is None:
                reason = unknown("shipped policy", item, shipped_policies())
                self.problems.append(document.problem(loc, "value", reason))
            elif not path.is_file():
                self.files.append(str(path))
                reason = f"there is no file {shown(str(path))}"
                self.problems.append(document.problem(loc, "value", reason))
            else:
                yield loc, path

    def _merged(self) -> Json:
        *included, own = self._documents
        if not included:
            return _without_include(own.data)
        merged: dict[str, Json] = {}
        for document in self._documents:
            if not isinstance(document.data, dict):
                self.problems.append(_no_mapping(document))
                continue
            values = _without_include(document.data)
            assert isinstance(values, dict)
            if document is not own:
                values = {key: value for key, value in values.items() if key != "version"}
            rules = values.pop("rules", [])
            if isinstance(rules, list):
                self._merge_rules(rules, document)
            else:
                values["rules"] = rules
            for key, value in values.items():
                self._put(merged, key, value, (), document)
        self._origins[()] = (own, ())
        if "rules" not in merged:
            merged["rules"] = self._placed_rules(own)
        return merged

    def _put(
        self, into: dict[str, Json], key: str, value: Json, above: Loc, document: Document
    ) -> None:
        loc = (*above, key)
        old = into.get(key)
        self._origins[loc] = (document, loc)
        if not isinstance(value, dict) or len(loc) > _MERGED_DEPTH:
            into[key] = value
            return
        merged = into[key] = dict(old) if isinstance(old, dict) else {}
        for name, part in value.items():
            self._put(merged, name, part, loc, document)

    def _merge_rules(self, rules: list[Json], document: Document) -> None:
        known = {rule.name: rule for rule in self._rules if rule.name is not None}
        own: dict[str, int] = {}
        new: list[_Rule] = []
        for index, value in enumerate(rules):
            origin = (document, ("rules", index))
            name = value.get("name") if isinstance(value, dict) else None
            if not isinstance(value, dict) or not isinstance(name, str):
                new.append(_Rule(value, origin))
            elif name in own:
                reason = f"{shown(name)} is already the name of rules[{own[name]}]"
                place = ("rules", index, "name")
                self.problems.append(document.problem(place, "value", reason))
            elif name in known:
                known[name].override(value, origin)
                own[name] = index
            else:
                new.append(_Rule(value, origin))
                own[name] = index
        self._rules = [*new, *self._rules]

    def _placed_rules(self, own: Document) -> list[Json]:
        self._origins["rules",] = (own, ("rules",))
        for index, rule in enumerate(self._rules):
            self._origins["rules", index] = rule.origin
            for key, origin in rule.keys.items():
                self._origins["rules", index, key] = origin
        return [rule.value for rule in self._rules]


def _without_include(data: Json) -> Json:
    if not isinstance(data, dict):
        return data
    return {key: value for key, value in data.items() if key != "include"}


def _no_mapping(document: Document) -> Problem:
    return document.problem((), "value", f"must be a mapping, not {shown(document.data)}")


def _sought(source: str, folder: Path) -> Path | None:
    """The file of a shipped policy's name or a path; None for an unknown name."""
    if source in shipped_policies():
        return shipped_policy(source)
    if "/" in source or Path(source).suffix:
        return folder / source
    return None


def find_policy(source: Path | str) -> Path:
    """The file of a policy: a path, or the name of a shipped one such as `"default"`.

    Text with a `/` or an ending such as `.yaml` is a path. Raises `PolicyError` for an
    unknown name.
    """
    if isinstance(source, Path):
        return source
    path = _sought(source, Path())
    if path is None:
        raise whole_file(source, unknown("shipped policy", source, shipped_policies()))
    return path


def read_text(path: Path) -> str:
    """What a policy file says. Raises `PolicyError` where it cannot be read."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise whole_file(str(path), f"cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise too_large(str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        reason = f"the byte 0x{raw[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise whole_file(str(path), reason, line + 1, column + 1) from None
