"""A session as a file: gzip, in it one JSON object a line, read and written as a stream.

The first line says whose archive it is, the last how many lines there are; see `docs/store.md`.
"""

from __future__ import annotations

import base64
import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, BinaryIO

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.outcome import Outcome
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import TranscriptError
from supervisor.privacy.redaction import Redactor
from supervisor.store import codec
from supervisor.store.interface import Incident, SessionRow, StoredEntry, Told

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = [
    "MAX_LINE",
    "VERSION",
    "End",
    "Header",
    "Item",
    "encode_item",
    "header_of",
    "read_archive",
    "write_line",
]

VERSION = 2
"""Of a redacted archive; one that holds all is of version 1 still, and read by any Lucid."""

MAX_LINE = 128 * 1024 * 1024
"""Bytes. Well above what the longest entry that a model can be sent comes to."""

_Moment = Annotated[datetime, msgspec.Meta(tz=True)]
_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Id = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=r"^[^\x00-\x1f\x7f]+$")]
_Name = Annotated[
    str, msgspec.Meta(min_length=1, max_length=1000, pattern=r"^(?!\.\.?$)[^/\\\x00-\x1f\x7f]+$")
]
_Subpath = Annotated[str, msgspec.Meta(max_length=1000, pattern=r"^[^\\\x00-\x1f\x7f]*$")]
_ABROAD = re.compile(r"^/|(^|/)\.{0,2}(/|$)")

Item = StoredEntry | Told


class _Line(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"
):
    """What every line has is its type."""


class _Transcript(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    project_key: _Name
    session_id: _Name
    subpath: _Subpath = ""


class Header(_Line, frozen=True, kw_only=True, omit_defaults=True, tag="lucid-session"):
    """The first line: the session, and the keys of its transcripts, which entries number."""

    version: int
    session_id: _Id
    project_key: str
    created_at: _Moment
    updated_at: _Moment
    state: SessionState
    state_reason: str = ""
    head: str | None = None
    objective: str | None = None
    cwd: str | None = None
    policy: str | None = None
    submission: str | None = None
    entries: _Count = 0
    redacted: bool = False
    """Whether secrets were looked for, and left out."""
    transcripts: list[_Transcript]

    @property
    def row(self) -> SessionRow:
        """The session, without what is counted."""
        fields = msgspec.structs.asdict(self)
        del fields["version"], fields["transcripts"], fields["redacted"]
        return SessionRow(**fields)

    @property
    def keys(self) -> list[SessionKey]:
        """The keys of its transcripts."""
        return [codec.key_of(t.project_key, t.session_id, t.subpath) for t in self.transcripts]


class _Entry(_Line, frozen=True, kw_only=True, omit_defaults=True, tag="entry"):
    seq: _Count
    transcript: _Count = 0
    inherited: bool = False
    text: str | None = None
    base64: str | None = None


class _Prompt(_Line, frozen=True, kw_only=True, omit_defaults=True, tag="prompt"):
    uuid: str
    at: _Moment
    text: str | None = None
    base64: str | None = None


class _Intent(_Line, frozen=True, kw_only=True, tag="intent"):
    record: Intent


class _Verdict(_Line, frozen=True, kw_only=True, tag="verdict"):
    record: Verdict


class _Decision(_Line, frozen=True, kw_only=True, tag="decision"):
    record: Decision


class _Outcome(_Line, frozen=True, kw_only=True, tag="outcome"):
    record: Outcome


class _Incident(_Line, frozen=True, kw_only=True, tag="incident"):
    record: Incident


class End(_Line, frozen=True, kw_only=True, tag="end"):
    """The last line: how many there are before it, so that none is missing."""

    lines: _Count


_Record = _Intent | _Verdict | _Decision | _Outcome | _Incident
_ItemLine = _Entry | _Prompt | _Record
_LINE = msgspec.json.Decoder(Header | _ItemLine | End)


class _Beginning(msgspec.Struct, frozen=True):
    type: str = ""
    version: int = 0


_BEGINNING = msgspec.json.Decoder(_Beginning)


# Writing


def header_of(row: SessionRow, keys: list[SessionKey], *, redacted: bool = False) -> Header:
    """The first line for a session with transcripts of these keys. Raises `TranscriptError`
    where it has names that no import takes."""
    header = Header(
        version=VERSION if redacted else 1,
        redacted=redacted,
        session_id=row.session_id,
        project_key=row.project_key,
        created_at=row.created_at,
        updated_at=row.updated_at,
        state=row.state,
        state_reason=row.state_reason,
        head=row.head,
        objective=row.objective,
        cwd=row.cwd,
        policy=row.policy,
        submission=row.submission,
        entries=row.entries,
        transcripts=[
            _Transcript(
                project_key=key["project_key"],
                session_id=key["session_id"],
                subpath=key.get("subpath", ""),
            )
            for key in keys
        ],
    )
    try:
        return _header(msgspec.json.encode(header))
    except (msgspec.MsgspecError, ValueError) as error:
        raise TranscriptError(f"session {row.session_id!r} cannot be exported: {error}") from error


def encode_item(item: Item, numbers: dict[tuple[str, str, str], int]) -> _Line:
    """An item's line; `numbers` says which transcript is which."""
    match item:
        case StoredEntry():
            number = numbers[item.project_key, item.transcript, item.subpath]
            text, coded = _as_text(item.raw)
            return _Entry(
                seq=item.seq,
                transcript=number,
                inherited=item.inherited,
                text=text,
                base64=coded,
            )
        case SentPrompt():
            text, coded = _as_text(bytes(item.message))
            return _Prompt(uuid=item.uuid, at=item.at, text=text, base64=coded)
        case Intent():
            return _Intent(record=item)
        case Verdict():
            return _Verdict(record=item)
        case Decision():
            return _Decision(record=item)
        case Outcome():
            return _Outcome(record=item)
        case Incident():
            return _Incident(record=item)


def write_line(line: _Line, file: BinaryIO, redactor: Redactor) -> bool:
    """Write a line; returns whether a secret was left out. Raises `TranscriptError` where it
    would be too long to be read again."""
    whole = _without_secrets(line, redactor) if isinstance(line, _Entry | _Prompt) else line
    # What an intent quotes may be laid out over several lines.
    plain = msgspec.json.encode(whole).replace(b"\n", b" ")
    text = plain if isinstance(line, _Entry | _Prompt) else redactor.json(plain)
    if len(text) >= MAX_LINE:
        what = f"entry {line.seq}" if isinstance(line, _Entry) else "a record"
        raise TranscriptError(
            f"{what} takes {len(text):,} bytes, and a line of an archive {MAX_LINE:,} at most; "
            "the session cannot be exported"
        )
    file.write(text + b"\n")
    return whole is not line or text is not plain


def _without_secrets(line: _Entry | _Prompt, redactor: Redactor) -> _Entry | _Prompt:
    raw = _bytes_of(line)
    redacted = redactor.json(raw)
    if redacted is raw:
        return line
    text, coded = _as_text(redacted)
    return msgspec.structs.replace(line, text=text, base64=coded)


def _as_text(raw: bytes) -> tuple[str | None, str | None]:
    """Bytes as text where they are UTF-8, else in base64."""
    try:
        return raw.decode(), None
    except UnicodeDecodeError:
        return None, base64.b64encode(raw).decode()


# Reading


def read_archive(path: Path) -> Iterator[tuple[Header | Item, int]]:
    """The session and then what belongs to it, and how many bytes each takes in the file.

    Holds one line at a time. Raises `TranscriptError`, with the line, for whatever no
    `lucid export` has written: nothing else comes out.
    """
    reader = _Reader()
    for number, raw in _lines(path):
        try:
            taken = reader.take(number, raw)
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            reason = "its values are nested too deeply" if not str(error) else str(error)
            raise TranscriptError(f"{path}: line {number}: {reason}; {_ADVICE}") from error
        if taken is not None:
            yield taken, len(raw)
    if not reader.ended:
        raise TranscriptError(
            f"{path}: line {reader.lines + 1}: the file ends before its last line; {_ADVICE}"
        )


_ADVICE = "nothing was imported: export the session again"


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    number = 1
    try:
        with gzip.open(path, "rb") as file:
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE:
                    raise TranscriptError(
                        f"{path}: line {number}: it is longer than {MAX_LINE:,} bytes; {_ADVICE}"
                    )
                yield number, line
                number += 1
    except EOFError as error:
        raise TranscriptError(f"{path}: line {number}: the file is cut off; {_ADVICE}") from error
    except (gzip.BadGzipFile, zlib.error) as error:
        what = "no file of 'lucid export'" if number == 1 else "the file is damaged"
        raise TranscriptError(f"{path}: line {number}: {what} ({error}); {_ADVICE}") from error
    except OSError as error:
        raise TranscriptError(
            f"{path} cannot be read: {error.strerror}; check the path and its permissions"
        ) from error


class _Reader:
    """Takes one line after another and lets through what fits together."""

    def __init__(self) -> None:
        self.lines = 0
        self.ended = False
        self._header: Header | None = None
        self._seq = 0

    def take(self, number: int, raw: bytes) -> Header | Item | None:
        """What a line comes to, None for the last. Raises `ValueError` where it does not fit."""
        if self.ended:
            raise ValueError("there is something behind the last line")
        if self._header is None:
            self._header = _header(raw)
            self.lines = number
            return self._header
        line = _LINE.decode(raw)
        if isinstance(line, End):
            self._end(line)
            return None
        self.lines = number
        return self._item(line, self._header)

    def _item(self, line: _ItemLine | Header, header: Header) -> Item:
        match line:
            case Header():
                raise ValueError("a second session begins")
            case _Entry():
                return self._entry(line, header)
            case _Prompt():
                return SentPrompt(
                    session_id=header.session_id,
                    uuid=line.uuid,
                    at=line.at,
                    message=msgspec.Raw(_bytes_of(line)),
                )
            case _:
                return self._record(line, header)

    def _end(self, line: End) -> None:
        if line.lines != self.lines:
            raise ValueError(f"{self.lines} lines before it, {line.lines} were written")
        self.ended = True

    def _entry(self, line: _Entry, header: Header) -> StoredEntry:
        if not self._seq < line.seq <= header.entries:
            raise ValueError(f"entry {line.seq} stands behind {self._seq} of {header.entries}")
        if line.transcript >= len(header.transcripts):
            raise ValueError(f"there is no transcript {line.transcript}")
        self._seq = line.seq
        transcript = header.transcripts[line.transcript]
        raw = _bytes_of(line)
        return StoredEntry(
            session_id=header.session_id,
            seq=line.seq,
            project_key=transcript.project_key,
            transcript=transcript.session_id,
            subpath=transcript.subpath,
            uuid=codec.identify(raw).uuid,
            inherited=line.inherited,
            raw=raw,
        )

    def _record(self, line: _Record, header: Header) -> Told:
        record = line.record
        told = [record.session_id]
        if isinstance(record, Decision):
            told.append(record.verdict.session_id)
        if set(told) != {header.session_id}:
            raise ValueError("it is about another session")
        at = getattr(record, "at", None)
        if isinstance(at, datetime) and at.tzinfo is None:
            raise ValueError("its time has no zone")
        return record


def _header(raw: bytes) -> Header:
    beginning = _BEGINNING.decode(raw)
    if beginning.type != "lucid-session":
        raise ValueError("no file of 'lucid export'")
    if beginning.version > VERSION:
        raise ValueError(
            f"the archive has version {beginning.version} and this Lucid reads versions up to "
            f"{VERSION}: upgrade lucid-supervisor"
        )
    header = _LINE.decode(raw)
    assert isinstance(header, Header), "its type says so"
    for transcript in header.transcripts:
        if transcript.subpath and _ABROAD.search(transcript.subpath):
            raise ValueError(f"a transcript cannot stand at {transcript.subpath!r}")
    if len({key for key in map(msgspec.structs.astuple, header.transcripts)}) < len(header.keys):
        raise ValueError("a transcript is named twice")
    return header


def _bytes_of(line: _Entry | _Prompt) -> bytes:
    if (line.text is None) == (line.base64 is None):
        raise ValueError("it has either text or base64")
    if line.text is not None:
        return line.text.encode()
    return base64.b64decode(line.base64 or "", validate=True)
