"""Values to SQLite columns and back, and the clock of the machine that holds the file."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from supervisor.store.rows import Value, kept, micros, moment

__all__ = ["after", "bound", "columns_of", "now"]

_TIMES = {"at", "created_at", "updated_at", "expires_at", "followed_at"}


def columns_of(row: sqlite3.Row) -> dict[str, Any]:
    """A row's values by column, times as times."""
    columns = dict(zip(row.keys(), row, strict=True))
    for name in _TIMES & columns.keys():
        columns[name] = None if columns[name] is None else moment(columns[name])
    return columns


def bound(columns: Mapping[str, Value]) -> dict[str, Value]:
    """Values as a statement takes them: times in microseconds."""
    return {name: _bound(name, value) for name, value in columns.items()}


def _bound(name: str, value: Value) -> Value:
    if isinstance(value, datetime):
        return micros(value)
    return kept(name, value) if isinstance(value, str) else value


def now() -> int:
    """The time by this machine's clock; whoever shares the file shares the machine."""
    return time.time_ns() // 1000


def after(ttl: timedelta) -> int:
    """The time that long from now."""
    return micros(moment(now()) + ttl)
