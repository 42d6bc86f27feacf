"""What the fields of a type are, as the strings below them in its source say."""

from __future__ import annotations

import ast
import inspect
import re
import textwrap

__all__ = ["field_descriptions", "paragraph"]


def field_descriptions(kind: type) -> dict[str, str]:
    """By the field's name; those that say nothing of themselves are left out.

    >>> from supervisor.core.lease import Lease
    >>> field_descriptions(Lease)["expires_at"]
    "By the store's clock, never a worker's own."
    """
    (made,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(made, ast.ClassDef)
    found: dict[str, str] = {}
    for field, after in zip(made.body, made.body[1:], strict=False):
        said = _text(after)
        if said and isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            found[field.target.id] = paragraph(said)
    return found


def paragraph(text: str) -> str:
    """A docstring as one paragraph, not as the source breaks it.

    >>> paragraph("One,\\n    two.")
    'One, two.'
    """
    return re.sub(r"\s+", " ", inspect.cleandoc(text))


def _text(statement: ast.stmt) -> str | None:
    if not (isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)):
        return None
    value = statement.value.value
    return value if isinstance(value, str) else None
