"""The OpenAPI 3.1 document, made from the table of operations and the types they return.

`python -m supervisor.service.openapi` prints it as `docs/openapi.json` has it.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import msgspec

from supervisor.core.decision import Decision, Skipped
from supervisor.core.outcome import Outcome
from supervisor.core.verdict import Evidence, Verdict
from supervisor.service import schema
from supervisor.service.descriptions import field_descriptions, paragraph
from supervisor.service.operations import OPERATIONS, Operation, Parameter
from supervisor.service.problem import PHRASES, PROBLEM_TYPE
from supervisor.service.schema import Problem
from supervisor.store.interface import Incident

__all__ = ["openapi", "text"]

_REF = "#/components/schemas/{name}"
_ANY_REQUEST = (401, 421, 500)
_VERSION = "1"
"""Of the API, as in its paths: it grows, and what is there stays as it is."""

_OURS = [getattr(schema, name) for name in schema.__all__]
_DESCRIBED: dict[str, type] = {
    kind.__name__: kind
    for kind in (Decision, Evidence, Incident, Outcome, Skipped, Verdict, *_OURS)
}
"""Types whose fields say in the source what they are."""

Json = dict[str, Any]  # JSON has no better type


@cache
def openapi() -> Json:
    """The document."""
    types = [Problem, *(kind for op in OPERATIONS for kind in (op.takes, op.returns) if kind)]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REF)
    found = dict(zip(map(repr, types), schemas, strict=True))
    paths: Json = {}
    for op in OPERATIONS:
        paths.setdefault(op.path, {})[op.method.lower()] = _operation(op, found)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Lucid",
            "version": _VERSION,
            "description": "What a Lucid sidecar shows of the agents it supervises.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {name: _component(name, components[name]) for name in sorted(components)},
        },
    }


def text() -> str:
    """The document as a file."""
    return json.dumps(openapi(), indent=2, ensure_ascii=False) + "\n"


def _operation(op: Operation, schemas: dict[str, Json]) -> Json:
    made: Json = {"operationId": op.handle.__name__, "summary": op.summary}
    if op.about:
        made["description"] = op.about
    if op.parameters:
        made["parameters"] = [_parameter(parameter) for parameter in op.parameters]
    if op.takes:
        made["requestBody"] = {"required": True, "content": _content(op.takes, schemas)}
    made["responses"] = _responses(op, schemas)
    if op.is_open:
        made["security"] = []
    return made


def _responses(op: Operation, schemas: dict[str, Json]) -> Json:
    content = _content(op.returns, schemas) if op.returns else {op.media: {}}
    responses: Json = {"200": {"description": "OK", "content": content}}
    if op.path == "/readyz":
        responses["503"] = {"description": "Not ready", "content": content}
    problem = {PROBLEM_TYPE: {"schema": schemas[repr(Problem)]}}
    always = tuple(status for status in _ANY_REQUEST if not (op.is_open and status == 401))
    for status in sorted({*op.refuses, *always}):
        responses[str(status)] = {"description": PHRASES[status], "content": problem}
    return responses


def _content(kind: object, schemas: dict[str, Json]) -> Json:
    return {"application/json": {"schema": schemas[repr(kind)]}}


def _parameter(parameter: Parameter) -> Json:
    return {
        "name": parameter.name,
        "in": parameter.place,
        "required": parameter.required,
        "description": parameter.about,
        "schema": dict(parameter.schema),
    }


def _component(name: str, schema: Json) -> Json:
    """A component with its descriptions, each as one paragraph."""
    made = dict(schema)
    if "description" in made:
        made["description"] = paragraph(made["description"])
    kind = _DESCRIBED.get(name.partition("_")[0])
    about = field_descriptions(kind) if kind is not None else {}
    for field, said in about.items():
        made["properties"][field] = {**made["properties"][field], "description": said}
    return made


if __name__ == "__main__":
    print(text(), end="")
