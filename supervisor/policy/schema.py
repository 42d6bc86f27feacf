"""The JSON Schema of policies, for editors.

It says what can be said without reading the policy: keys, types, names, bounds. That a rule
is reachable, that a ladder ends or that two settings go together, only `lucid policy check`
knows.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

from pydantic import BaseModel

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode
from supervisor.policy.model import Policy
from supervisor.policy.rung import Pace, Selection

__all__ = ["policy_schema"]

Schema: TypeAlias = dict[str, Any]

_DURATION: Schema = {"type": "string", "pattern": "^[0-9]{1,9}(ms|s|m|h|d)$"}
_OWN: dict[str, Schema] = {
    "Cooldown": {
        "type": "string",
        "pattern": "^([0-9]{1,9}(ms|s|m|h|d)|[1-9][0-9]{0,8} (entry|entries))$",
        "examples": ["30s", "4 entries"],
    },
    "Between": {
        "type": "string",
        "pattern": "^[0-2][0-9]:[0-5][0-9]-[0-2][0-9]:[0-5][0-9]( \\S+)?$",
        "examples": ["22:00-06:00 Europe/Berlin"],
    },
}
"""What is written in another form than it is kept."""
_LONGEST = 300
"""Characters of a description."""


def policy_schema(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> Schema:
    """A schema (draft 2020-12) of the policies that these plugins can be used by."""
    defs: Schema = {}
    policy = _schema(Policy, "", defs)
    defs |= _OWN
    defs["Rung"] = _rung(actions, defs)
    defs["Budget"] = {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, defs["Budget"]]}
    defs["FailureMode"] = {"enum": [str(mode) for mode in FailureMode]}
    rule = defs["Rule"]
    rule["properties"]["on"] = _one_or_several({"$ref": "#/$defs/FailureMode"})
    # A rule that overrides an included one says only what differs, and a policy may have all
    # its rules from those that it includes.
    rule["required"] = ["name"]
    policy["required"] = ["version"]
    policy["properties"]["include"] = _one_or_several({"type": "string"})
    policy["properties"]["detectors"] = _object(
        {name: _settings(kind, kind.Config, defs) for name, kind in sorted(detectors.items())}
    )
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A Lucid policy"}
    return {**head, **policy, "$defs": dict(sorted(defs.items()))}


def _rung(actions: Mapping[str, type[Action]], defs: Schema) -> Schema:
    """A step: an action's name, an action with its parameters, or a choice."""
    pace = _schema(Pace, "", {})["properties"]
    steps: list[Schema] = [{"enum": sorted(actions)}]
    for name, action in sorted(actions.items()):
        settings = _settings(action, action.Params, defs)
        settings["properties"] |= pace
        steps.append({**_object({name: settings}), "required": [name]})
    return {"anyOf": [*steps, _schema(Selection, "", {})]}


def _settings(plugin: type, model: type[BaseModel], defs: Schema) -> Schema:
    """What a plugin takes; nothing stands for the defaults."""
    schema = _schema(model, f"{plugin.__name__}.", defs)
    schema["type"] = ["object", "null"]
    return {"description": _note(inspect.getdoc(plugin) or ""), **schema}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _one_or_several(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "array", "items": item}]}


def _schema(model: type[BaseModel], prefix: str, defs: Schema) -> Schema:
    """A model's schema; the parts that it refers to are added to `defs`."""
    found = model.model_json_schema(ref_template=f"#/$defs/{prefix}{{model}}")
    parts = found.pop("$defs", {})
    models = {part.__name__: part for part in _models(model)}
    for name, part in parts.items():
        if name in models:
            _annotate(part, models[name])
        defs[f"{prefix}{name}"] = _plain(part)
    _annotate(found, model)
    plain = _plain(found)
    plain.pop("description", None)
    assert isinstance(plain, dict)
    return plain


def _models(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """A model and those of its fields, as far as their types name them."""
    seen: set[type[BaseModel]] = set()
    waiting: list[object] = [model]
    while waiting:
        kind = waiting.pop()
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if kind not in seen:
                seen.add(kind)
                yield kind
                waiting += [field.annotation for field in kind.model_fields.values()]
        else:
            waiting += getattr(kind, "__args__", ())


def _annotate(schema: Schema, model: type[BaseModel]) -> None:
    """Give the fields their docstrings."""
    notes: dict[str, str] = {}
    for base in reversed(model.__mro__):
        if issubclass(base, BaseModel) and base is not BaseModel:
            notes |= _attribute_notes(base)
    for name, field in schema.get("properties", {}).items():
        if name in notes and "$ref" not in field:
            field["description"] = notes[name]


def _attribute_notes(model: type) -> dict[str, str]:
    """The text that stands below each attribute in the source."""
    try:
        [tree] = ast.parse(textwrap.dedent(inspect.getsource(model))).body
    except (OSError, TypeError):
        return {}
    assert isinstance(tree, ast.ClassDef)
    return {
        field.target.id: _note(note.value.value)
        for field, note in zip(tree.body, tree.body[1:], strict=False)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(note, ast.Expr)
        and isinstance(note.value, ast.Constant)
        and isinstance(note.value.value, str)
    }


def _note(text: str) -> str:
    return one_line(text.split("\n\n")[0], _LONGEST)


def _plain(value: Any) -> Any:
    """Without what pydantic adds for programs, and with durations as people write them."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("format") == "duration":
        return {**_DURATION, **{key: value[key] for key in ("description",) if key in value}}
    return {
        key: {name: _plain(part) for name, part in item.items()}
        if key == "properties"
        else _plain(item)
        for key, item in value.items()
        if key not in {"title", "default"}
    }
