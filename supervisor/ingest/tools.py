"""What the tools of a listing take, from their JSON schemas."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from supervisor.core.entry import Parameters
from supervisor.ingest import wire

__all__ = ["parameters"]

_MOST_TOOLS = 64
_MOST_PARAMETERS = 32
"""A schema with more is left out, as is a tool beyond the first 64: bounds memory."""
_LONGEST_NAME = 128
_NO = msgspec.Raw(b"false")
_TYPES = frozenset({"array", "boolean", "integer", "null", "number", "object", "string"})


def parameters(tools: Iterable[wire.Tool]) -> Iterator[Parameters]:
    """Of those tools whose definition says so. What cannot be read is left out."""
    defined = (tool for tool in tools if tool.name and tool.schema != wire.ABSENT)
    for tool, _ in zip(defined, range(_MOST_TOOLS), strict=False):
        try:
            definition = wire.read(wire.Definition, tool.schema)
            schema = wire.read(wire.Schema, definition.input_schema)
        except (msgspec.MsgspecError, RecursionError):
            continue
        if 0 < len(schema.properties) <= _MOST_PARAMETERS or schema.additional_properties == _NO:
            yield _parameters(tool.name or "", schema)


def _parameters(tool: str, schema: wire.Schema) -> Parameters:
    types = {name[:_LONGEST_NAME]: _type(raw) for name, raw in schema.properties.items()}
    return Parameters(
        tool=tool[:_LONGEST_NAME],
        types=types,
        required=tuple(name for name in schema.required if name in types),
        closed=schema.additional_properties == _NO,
    )


def _type(raw: msgspec.Raw) -> str:
    try:
        name = msgspec.json.decode(wire.read(wire.Property, raw).type)
    except (msgspec.MsgspecError, RecursionError):
        return ""
    return name if isinstance(name, str) and name in _TYPES else ""
