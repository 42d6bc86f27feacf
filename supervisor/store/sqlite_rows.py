"""Values to SQLite columns and back."""

from __future__ import annotations

import json
import sqlite3
from datetime import UTC, datetime, timedelta

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.outcome import Outcome
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.store.interface import Incident, Recorded, SessionRow

__all__ = ["Value", "insertion", "micros", "session_row"]

Value = str | int | float | bytes | None

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def micros(at: datetime) -> int:
    """A zone-aware time as a column holds it."""
    return (at - _EPOCH) // _MICROSECOND


def _moment(value: int) -> datetime:
    return _EPOCH + timedelta(microseconds=value)


def session_row(row: sqlite3.Row) -> SessionRow:
    """A row of `session_rows`."""
    columns = {name: row[name] for name in row.keys()}  # noqa: SIM118 - a Row iterates over values
    columns["created_at"] = _moment(row["created_at"])
    columns["updated_at"] = _moment(row["updated_at"])
    columns["state"] = SessionState(row["state"])
    return SessionRow(**columns)


def insertion(item: Recorded) -> tuple[str, dict[str, Value]]:
    """The statement that records an item, and its columns besides the session's key."""
    statement, columns = _columns(item)
    return statement, {**columns, "body": _body(item)}


def _columns(item: Recorded) -> tuple[str, dict[str, Value]]:
    match item:
        case Verdict():
            return "insert_verdict", {
                "id": item.id,
                "seq": item.seq,
                "detector": item.detector,
                "failure_mode": item.failure_mode,
                "severity": item.severity,
                "confidence": item.confidence,
            }
        case Decision():
            return "insert_decision", {
                "id": item.id,
                "seq": item.seq,
                "at": micros(item.at),
                "choice": item.choice,
                "rule": item.rule,
                "action": item.action,
                "verdict_id": item.verdict.id,
            }
        case Outcome():
            return "insert_outcome", {
                "decision_id": item.decision_id,
                "status": item.status,
                "seq": item.seq,
                "at": micros(item.at),
            }
        case Intent():
            return "insert_intent", {
                "agent_id": item.agent_id or "",
                "call_id": item.call_id,
                "tool": item.tool,
                "at": micros(item.at),
            }
        case Incident():
            return "insert_incident", {
                "seq": item.seq or 0,
                "source": item.source,
                "place": item.place,
                "message": item.message,
                "at": micros(item.at),
            }


def _body(item: Recorded) -> str:
    try:
        return msgspec.json.encode(item).decode()
    except UnicodeEncodeError:  # a lone surrogate, quoted from an agent
        plain = msgspec.to_builtins(item, enc_hook=_plain)
        return json.dumps(plain, ensure_ascii=False)


def _plain(value: object) -> object:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else str(value)
