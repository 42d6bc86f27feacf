"""The page on detectors, written from their docstrings and configurations.

`python -m supervisor.docs` prints it; `make docs` writes it to `docs/detectors.md`. What it
says of a detector stands in the detector's own file, beside what it is about.
"""

from __future__ import annotations

import ast
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import Enum
from typing import get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from supervisor.core.detector import Detector
from supervisor.core.duration import duration_text

__all__ = ["detectors_page", "field_docs", "main", "shipped_detectors"]

_INTRODUCTION = """\
# Detectors

<!-- Written by `make docs` from the detectors' own docstrings. Change those, not this page. -->

A detector reads the entries of one agent and finds one kind of failure. All of them run on
every entry, locally and without a model call; what they find are verdicts, and what is done
about a verdict a [policy](policies.md) says. A verdict's confidence is the share of such
verdicts that are right: rules ask for it by `min_confidence`, and what lies below is recorded.

How well they do on traces that nobody here wrote, and how that was measured, is in
[detection.md](detection.md). Figures below are from there, on the half of each data set that
detectors may be developed on.

Each detector is configured under its name in a policy's `detectors`; what is left out keeps its
default, and a key that does not exist is a fault of the policy:

```yaml
detectors:
  loop: {repeats: 4}
  stall: {enabled: false}
```
"""

_END = """\
## Second opinions

Where a detector has only a suspicion, a model can be asked: see
[policies.md](policies.md#second-opinions). It is off unless a policy names one.

## Your own

Regular expressions and limits need no Python: see [pattern](#pattern) and [budget](#budget).
Anything else is a class of twenty lines, in a file of this project or in a distribution of your
own, under the entry point group `lucid.detectors`:
[CONTRIBUTING.md](../CONTRIBUTING.md#add-a-detector) shows a whole one, and
`supervisor.testing.fixtures.check_detector` tests it.
"""


def detectors_page(kinds: Mapping[str, type[Detector]]) -> str:
    """The page, in Markdown; the same for the same detectors."""
    ordered = [kinds[name] for name in sorted(kinds)]
    parts = [_INTRODUCTION, _overview(ordered), *map(_section, ordered), _END]
    return "\n".join(parts)


def _overview(kinds: list[type[Detector]]) -> str:
    rows = [f"| [{kind.name}](#{kind.name}) | {_modes(kind)} | {_gist(kind)} |" for kind in kinds]
    return "\n".join(["| detector | finds | in short |", "| --- | --- | --- |", *rows, ""])


def _modes(kind: type[Detector]) -> str:
    """Its own failure mode, and whether a policy may have it find others."""
    others = kind.failure_modes() - {kind.failure_mode}
    return f"`{kind.failure_mode}`{', or as configured' if others else ''}"


def _gist(kind: type[Detector]) -> str:
    """The first sentence of its docstring, behind the name of the failure."""
    first = _prose(kind).split("\n\n")[0]
    return _cell(first.partition(": ")[2].rstrip(".") or first)


def _prose(kind: type[Detector]) -> str:
    return inspect.cleandoc(sys.modules[kind.__module__].__doc__ or "")


def _section(kind: type[Detector]) -> str:
    rows = [f"| `{key}` | {default} | {_cell(text)} |" for key, default, text in _keys(kind.Config)]
    table = ["| key | default | meaning, and where the default comes from |", "| --- | --- | --- |"]
    return "\n".join([f"## {kind.name}", "", _prose(kind), "", *table, *rows, ""])


def _keys(model: type[BaseModel], above: str = "") -> Iterator[tuple[str, str, str]]:
    """Key, default and meaning of each field, with those of its parts below it."""
    docs = field_docs(model)
    for name, field in model.model_fields.items():
        key = f"{above}{field.alias or name}"
        part, suffix = _part(field.annotation)
        yield key, _default(field, part), docs.get(name, "")
        if part is not None:
            yield from _keys(part, f"{key}{suffix}.")


def _part(annotation: object, suffix: str = "") -> tuple[type[BaseModel] | None, str]:
    """The model that a field holds, if any, and how its place is written: `[]` for one of a
    list, `.NAME` for one of a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation, suffix
    inner = {"tuple": "[]", "list": "[]", "Mapping": ".NAME", "dict": ".NAME"}
    kind = getattr(getattr(annotation, "__origin__", None), "__name__", "")
    for argument in get_args(annotation):
        model, found = _part(argument, inner.get(kind, suffix))
        if model is not None:
            return model, found
    return None, ""


def _default(field: FieldInfo, part: type[BaseModel] | None) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if value is None or (part is not None and not value) or isinstance(value, BaseModel):
        return "none"
    return f"`{_cell(_written(value))}`"


def _written(value: object) -> str:
    """As a policy has it."""
    if isinstance(value, timedelta):
        return duration_text(value)
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, tuple | list | set | frozenset):
        items = sorted(value) if isinstance(value, set | frozenset) else value
        return f"[{', '.join(map(_written, items))}]"
    return value if isinstance(value, str) and value else json.dumps(value)


def field_docs(model: type[BaseModel]) -> dict[str, str]:
    """The text below each field of a model, those that it inherits included; each as one
    line."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        if issubclass(owner, BaseModel) and owner is not BaseModel:
            docs |= _own_docs(owner)
    return docs


def _own_docs(model: type[BaseModel]) -> dict[str, str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    assert isinstance(definition, ast.ClassDef)
    docs: dict[str, str] = {}
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            docs[statement.target.id] = " ".join(str(below.value.value).split())
    return docs


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def shipped_detectors() -> dict[str, type[Detector]]:
    """Those that come with Lucid, by name."""
    from supervisor.runtime.registry import detectors

    found = detectors().items()
    return {name: kind for name, kind in found if kind.__module__.startswith("detectors.")}


def main() -> None:
    """Print the page on the detectors that Lucid ships."""
    sys.stdout.write(detectors_page(shipped_detectors()))


if __name__ == "__main__":
    main()
