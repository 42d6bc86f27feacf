"""SQL statements by name, from files, so that SQL is read and reviewed as SQL."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["SQL", "Scripts", "load_statements", "split_script"]

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


class Scripts:
    """What makes a database's schema, and what brings an older one up to date."""

    def __init__(self, folder: Path) -> None:
        self._schema = folder / "schema.sql"
        self._migrations = {
            int(script.stem.partition("_")[0]): script
            for script in sorted((folder / "migrations").glob("*.sql"))
        }
        self.latest = max(self._migrations)
        """The schema version of this Lucid: the number of its newest migration."""

    def after(self, version: int) -> list[str]:
        """What brings a database of that version to the latest; 0 is an empty one."""
        newer = [script for number, script in self._migrations.items() if number > version]
        scripts = newer if version else [self._schema]
        return [script.read_text(encoding="utf-8") for script in scripts]


def split_script(script: str) -> list[str]:
    """The statements of a script without string literals, comments dropped.

    >>> split_script("CREATE TABLE a (b); -- one; two\\nDROP TABLE a;")
    ['CREATE TABLE a (b)', 'DROP TABLE a']
    """
    code = re.sub(r"--[^\n]*", "", script)
    return [statement.strip() for statement in code.split(";") if statement.strip()]
