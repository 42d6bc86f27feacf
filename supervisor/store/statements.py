"""SQL statements by name, from files, so that SQL is read and reviewed as SQL."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["SQL", "load_statements", "split_script"]

SQL = Path(__file__).parent / "sql"
"""One folder a database: `schema.sql`, `migrations/`, `queries.sql`."""

_NAME = re.compile(r"^-- name: (\w+)\s*$", re.MULTILINE)


def load_statements(file: Path) -> dict[str, str]:
    """The named blocks of a file, without their names.

    Raises `ValueError` for a block that is empty or whose name was used before.
    """
    _, *pieces = _NAME.split(file.read_text(encoding="utf-8"))
    statements: dict[str, str] = {}
    for name, text in zip(pieces[::2], pieces[1::2], strict=True):
        if name in statements or not text.strip():
            raise ValueError(f"{file}: the statement {name!r} is empty or given twice")
        statements[name] = text.strip()
    return statements


def split_script(script: str) -> list[str]:
    """The statements of a script without string literals, comments dropped.

    >>> split_script("CREATE TABLE a (b); -- one; two\\nDROP TABLE a;")
    ['CREATE TABLE a (b)', 'DROP TABLE a']
    """
    code = re.sub(r"--[^\n]*", "", script)
    return [statement.strip() for statement in code.split(";") if statement.strip()]
