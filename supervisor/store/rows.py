"""Values to columns and back, for any database."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypedDict, TypeVar, cast

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.core.word import Heard, Word
from supervisor.privacy.keyring import keyring
from supervisor.store import codec
from supervisor.store.files import FilesRecord
from supervisor.store.folders import Folder
from supervisor.store.interface import (
    Incident,
    ListedT,
    Recorded,
    SessionRow,
    StoredEntry,
)
from supervisor.store.parts import Part, Position

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = [
    "Changes",
    "Details",
    "Row",
    "Value",
    "by_transcript",
    "clean",
    "columns_of_changes",
    "columns_of_details",
    "decoded",
    "folder_row",
    "insertion",
    "kept",
    "kept_row",
    "key_columns",
    "listing",
    "micros",
    "moment",
    "part_of",
    "read",
    "sent_prompt",
    "session_row",
]

Value = str | int | float | bytes | datetime | None
Row = Mapping[str, Any]
_WithBody = Verdict | Decision | Outcome | Intent | Incident | Word | Heard

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_SEALED_OF_SESSION = ("objective", "policy", "submission", "state_reason")
_SEALED = frozenset({"body", "summary", *_SEALED_OF_SESSION})

_BodyT = TypeVar("_BodyT")

_LISTINGS: dict[type[object], str] = {
    Verdict: "verdicts",
    Decision: "decisions",
    Outcome: "outcomes",
    Intent: "intents",
    Incident: "incidents",
    Word: "words",
    FilesRecord: "files",
}
_ALL = 2**62


class _Words(TypedDict, total=False):
    head: str | None
    objective: str | None
    cwd: str | None
    policy: str | None
    submission: str | None


class Details(_Words, total=False):
    """What `Store.create_session` may be told of a session."""

    state: SessionState


class Changes(_Words, total=False):
    """What `Store.update_session` may be told of it."""

    state: SessionState | None
    state_reason: str | None


def micros(at: datetime) -> int:
    """A zone-aware time in microseconds since 1970-01-01 UTC."""
    return (at - _EPOCH) // _MICROSECOND


def moment(value: int) -> datetime:
    """The time that many microseconds after 1970-01-01 UTC."""
    return _EPOCH + timedelta(microseconds=value)


def clean(text: str) -> str:
    """Text that every database takes: without lone surrogates, quoted from an agent, and
    without NUL."""
    return text.encode(errors="replace").decode().replace("\0", "?")


def kept(name: str, text: str) -> str:
    """The text of a column as every database takes it, encrypted where it can tell of a
    transcript and the environment has a key."""
    text = clean(text)
    return keyring().seal_text(text) if name in _SEALED else text


def read(text: str) -> str:
    """The text of a column that may be encrypted. Raises `StoreError` without its key."""
    return keyring().open_text(text)


def key_columns(key: SessionKey) -> dict[str, Value]:
    """A transcript's key, by column."""
    return {
        "project_key": key["project_key"],
        "sdk_session_id": key["session_id"],
        "subpath": key.get("subpath", ""),
    }


def by_transcript(entries: Iterable[StoredEntry]) -> Iterator[tuple[SessionKey, list[StoredEntry]]]:
    """The entries of each transcript, by its key."""
    parts: dict[tuple[str, str, str], list[StoredEntry]] = {}
    for entry in entries:
        parts.setdefault((entry.project_key, entry.transcript, entry.subpath), []).append(entry)
    for place, part in parts.items():
        yield codec.key_of(*place), part


def columns_of_details(details: Details) -> dict[str, Value]:
    """The columns of `insert_session`, besides the session's id and project."""
    told = cast("dict[str, Value]", details)
    return {**dict.fromkeys(Details.__annotations__), "state": SessionState.RUNNING, **told}


def columns_of_changes(changes: Changes) -> dict[str, Value]:
    """The columns of `update_session`, besides the session's id."""
    return {**dict.fromkeys(Changes.__annotations__), **cast("dict[str, Value]", changes)}


def kept_row(row: SessionRow) -> dict[str, Value]:
    """The columns of `restore_session`, besides the session's key."""
    return {
        "project_key": row.project_key,
        "created_at": row.created_at,
        "updated_at": row.updated_at,
        "state": row.state,
        "state_reason": row.state_reason,
        "head": row.head,
        "objective": row.objective,
        "cwd": row.cwd,
        "policy": row.policy,
        "submission": row.submission,
        "last_seq": row.entries,
    }


def session_row(row: Row) -> SessionRow:
    """A row of `session_rows`; `expires_at` is NULL where the lease is not alive."""
    columns = dict(row)
    lease = {name: columns.pop(name) for name in ("owner", "epoch", "expires_at")}
    columns["state"] = SessionState(columns["state"])
    for name in _SEALED_OF_SESSION:
        if columns[name] is not None:
            columns[name] = read(columns[name])
    if lease["expires_at"] is not None:
        columns["lease"] = Lease(session_id=columns["session_id"], **lease)
    return SessionRow(**columns)


def folder_row(row: Row) -> Folder:
    """A row of `folder`; `epoch` is 0 where the folder never had a lease."""
    lease = (
        Lease(
            session_id=row["name"],
            owner=row["owner"],
            epoch=row["epoch"],
            expires_at=row["expires_at"],
        )
        if row["epoch"]
        else None
    )
    return Folder(name=row["name"], followed_at=row["followed_at"], lease=lease)


def sent_prompt(session_id: str, row: Row) -> SentPrompt:
    """A row of `prompts`."""
    message = msgspec.Raw(codec.unpack(row["compressed"], row["message"]))
    return SentPrompt(session_id=session_id, uuid=row["uuid"], at=row["at"], message=message)


def listing(kind: type[object], after: Position, limit: int | None) -> tuple[str, dict[str, int]]:
    """The statement that lists a kind, and its columns besides the session's key. It finds
    one more than `limit`, where there are more."""
    most = _ALL if limit is None else limit + 1
    place = {"after_seq": after.seq, "after_number": after.number}
    return _LISTINGS[kind], {**place, "limit": most}


def part_of(rows: Iterable[Row], kind: type[ListedT], limit: int | None) -> Part[ListedT]:
    """What a statement of `listing` found."""
    items: list[ListedT] = []
    end: Position | None = None
    for row in rows:
        if len(items) == limit:
            return Part(items, end)
        items.append(decoded(row, kind))
        end = Position(row["seq"], row["number"])
    return Part(items)


def decoded(row: Row, kind: type[_BodyT]) -> _BodyT:
    """What a row's `body` holds."""
    return msgspec.json.decode(read(row["body"]), type=kind)


def insertion(item: Recorded) -> tuple[str, dict[str, Value]]:
    """The statement that records an item, and its columns besides the session's key."""
    if isinstance(item, SentPrompt):
        compressed, message = codec.pack(bytes(item.message))
        return "insert_prompt", {
            "uuid": item.uuid,
            "at": item.at,
            "compressed": compressed,
            "message": message,
        }
    statement, columns = _columns(item)
    return statement, {**columns, "body": _body(item)}


def _columns(item: _WithBody) -> tuple[str, dict[str, Value]]:
    match item:
        case Verdict():
            return "insert_verdict", {
                "id": keyring().fingerprint(item.id),  # it may name what the agent named
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
                "at": item.at,
                "choice": item.choice,
                "rule": item.rule,
                "action": item.action,
                "verdict_id": keyring().fingerprint(item.verdict.id),
            }
        case Outcome():
            return "insert_outcome", {
                "decision_id": item.decision_id,
                "status": item.status,
                "seq": item.seq,
                "at": item.at,
            }
        case Intent():
            return "insert_intent", {
                "agent_id": item.agent_id or "",
                "call_id": item.call_id,
                "tool": item.tool,
                "at": item.at,
            }
        case Word():
            return "insert_word", {"id": item.id, "at": item.at}
        case Heard():
            return "insert_heard", {"word_id": item.word_id, "at": item.at}
        case Incident():
            return "insert_incident", {
                "seq": item.seq or 0,
                "source": item.source,
                "place": item.place,
                "message": keyring().fingerprint(clean(item.message)),
                "at": item.at,
            }


def _body(item: _WithBody) -> str:
    try:
        return msgspec.json.encode(item).decode()
    except UnicodeEncodeError:  # a lone surrogate, quoted from an agent
        plain = msgspec.to_builtins(item, enc_hook=_plain)
        return json.dumps(plain, ensure_ascii=False)


def _plain(value: object) -> object:
    return msgspec.json.decode(value) if isinstance(value, msgspec.Raw) else str(value)
