"""Pydantic's errors as faults of a policy: reasons to act on, each at its place.

Validators of the policy's models raise `refused(fault(...))`; pydantic gathers such
errors of all fields and items, so that one validation finds every fault.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from types import UnionType
from typing import Annotated, Union, cast, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from supervisor.core.text import shown
from supervisor.policy.document import Loc, Where

__all__ = ["fault", "faults_in", "place_of", "refused", "unknown"]

_TYPES = {
    "bool_type": "must be true or false",
    "float_type": "must be a number",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "string_type": "must be text",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "mapping_type": "must be a mapping",
    "model_type": "must be a mapping",
}
_SUBJECT = re.compile(r"^\w+ should (?:be|have) ")
_QUOTED = re.compile(r"'([^']*)'")


def fault(reason: str, loc: Loc = (), where: Where = "value") -> InitErrorDetails:
    """A fault at `loc`, counted from the value that is being validated."""
    error = PydanticCustomError("policy_fault", "{reason}", {"reason": reason, "where": where})
    return InitErrorDetails(type=error, loc=loc, input=None)


def refused(*faults: InitErrorDetails) -> ValidationError:
    """The error to raise from a validator that found `faults`."""
    return ValidationError.from_exception_data("policy", list(faults))


def faults_in(
    error: ValidationError, model: type[BaseModel], under: Loc = ()
) -> list[InitErrorDetails]:
    """What `model` found wrong, reworded and moved to below `under`."""
    return [
        fault(_reason(details, model), (*under, *details["loc"]), place_of(details))
        for details in error.errors(include_url=False)
        if not _follows_from_another(details)
    ]


def place_of(details: ErrorDetails) -> Where:
    """Whether the key, the value or its absence is at fault."""
    if details["type"] == "policy_fault":
        return cast(Where, details["ctx"]["where"])
    if details["type"] == "missing":
        return "missing"
    return "key" if details["type"] == "extra_forbidden" else "value"


def unknown(kind: str, name: object, known: Iterable[str]) -> str:
    """The reason for a name that does not exist, with the nearest that does.

    >>> unknown("action", "nugde", ["abort", "nudge"])
    "unknown action 'nugde'; did you mean 'nudge'?"
    >>> unknown("action", "explode", ["abort", "nudge"])
    "unknown action 'explode'; known: abort, nudge"
    """
    names = sorted(map(str, known))
    if isinstance(name, str) and (near := get_close_matches(name, names, n=1)):
        return f"unknown {kind} {shown(name)}; did you mean {near[0]!r}?"
    return f"unknown {kind} {shown(name)}; known: {', '.join(names) or 'none'}"


def _reason(details: ErrorDetails, model: type[BaseModel]) -> str:
    kind, context = details["type"], details.get("ctx", {})
    if kind == "policy_fault":
        return str(context["reason"])
    if kind == "missing":
        return "is missing"
    if kind == "extra_forbidden":
        *above, key = details["loc"]
        return unknown("key", key, _keys(_part(model, above)))
    if kind in {"too_short", "string_too_short"} and not details["input"]:
        return "must not be empty"
    if kind == "too_short":
        return f"must have at least {context['min_length']} items"
    if kind in {"value_error", "assertion_error"}:
        return str(context["error"])
    must = _TYPES.get(kind) or _SUBJECT.sub("must be ", details["msg"])
    return f"{must}, not {shown(details['input'])}{_near(details)}"


def _near(details: ErrorDetails) -> str:
    if details["type"] not in {"literal_error", "enum"} or not isinstance(details["input"], str):
        return ""
    expected = _QUOTED.findall(details["ctx"]["expected"])
    near = get_close_matches(details["input"], expected, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _keys(kind: object) -> list[str]:
    if not (isinstance(kind, type) and issubclass(kind, BaseModel)):
        return []
    return [field.alias or name for name, field in kind.model_fields.items()]


def _part(kind: object, loc: Iterable[int | str]) -> object:
    """The type of what stands at `loc` in a value of type `kind`; None where types do not
    tell."""
    for step in loc:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = kind.model_fields.items()
            found = [field for name, field in fields if step in (field.alias, name)]
            kind = found[0].annotation if found else None
        else:  # a list's items, a mapping's values
            kind = next((part for part in reversed(get_args(kind)) if part is not ...), None)
        kind = _without_none(kind)
    return kind


def _without_none(kind: object) -> object:
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in {Union, UnionType}:
        return next((part for part in get_args(kind) if part is not type(None)), None)
    return kind


def _follows_from_another(details: ErrorDetails) -> bool:
    """Pydantic calls a list too short when its faulty items are not counted."""
    if details["type"] != "too_short":
        return False
    return len(details["input"]) >= int(details["ctx"]["min_length"])
