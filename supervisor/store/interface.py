"""`Store`: what Lucid keeps, whichever database keeps it.

A store holds raw entries verbatim and everything that was concluded from them. It is
also a session store of the Agent SDK, so an agent's transcript can be mirrored into it
and resumed from it.
"""

from __future__ import annotations

import asyncio
import os
import socket
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import datetime, timedelta
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self, TypeVar
from uuid import uuid4

from supervisor.core.decision import Decision
from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.sent import SentPrompt
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.core.word import Word
from supervisor.errors import LeaseHeld, LeaseLost, TranscriptError
from supervisor.store.codec import encode
from supervisor.store.files import FilesRecord, piece_of
from supervisor.store.folders import FileMark, Folder
from supervisor.store.parts import START, Part, Position
from supervisor.store.records import (
    Incident,
    Listed,
    ListedT,
    Recorded,
    Removed,
    SessionRow,
    StoredEntry,
    Told,
)

if TYPE_CHECKING:
    from claude_agent_sdk import (
        SessionKey,
        SessionListSubkeysKey,
        SessionStoreEntry,
        SessionStoreListEntry,
        SessionSummaryEntry,
    )

    from supervisor.store.sealing import Place, SealedPart, Table

__all__ = [
    "Addition",
    "Incident",
    "Listed",
    "ListedT",
    "Recorded",
    "Removed",
    "SessionRow",
    "Store",
    "StoredEntry",
    "Told",
]

_REMOVED_AT_ONCE = 5_000
"""Entries deleted in one transaction, which takes some tenths of a second."""
_REMOVAL_TTL = timedelta(seconds=60)

_T = TypeVar("_T")


async def _attempt(work: Awaitable[_T]) -> _T | Exception:
    try:
        return await work
    except Exception as error:  # noqa: BLE001 - raised where it is waited for
        return error


class Addition(NamedTuple):
    """What one `Store.write` stores."""

    key: SessionKey
    raws: Sequence[bytes]
    session_id: str | None = None
    inherited: bool | None = None
    offsets: Sequence[int] | None = None
    lease: Lease | None = None


class Store(ABC):
    """Keeps sessions; it is an SDK's `SessionStore`, too. Every method raises `StoreError`
    where the database fails.

    Use it as an async context manager, or call `open` and `close`.

    Methods that change a session take its `lease`. With one they raise `LeaseLost`, and
    change nothing, where another worker has taken the session over since; that is checked
    in the same transaction. An expired one will do, and so will `nobodys`: it says what the
    caller takes for the last one.
    """

    @abstractmethod
    async def open(self) -> None:
        """Open the database; create it, or bring it up to date, where need be."""

    @abstractmethod
    async def close(self) -> None:
        """Close the database. Closing twice is harmless."""

    async def _tried(self) -> None:
        """Read something as it is opened: what is encrypted with a key that is not there is
        neither read nor written beside. Raises `StoreError`, and is closed then."""
        try:
            await self.sessions(1)
        except BaseException:
            await self.close()
            raise

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @abstractmethod
    async def write(
        self,
        key: SessionKey,
        raws: Sequence[bytes],
        *,
        session_id: str | None = None,
        inherited: bool | None = None,
        offsets: Sequence[int] | None = None,
        batch: str | None = None,
        lease: Lease | None = None,
    ) -> list[StoredEntry]:
        """Store raw entries; durable when it returns. Returns those that were new.

        An entry whose `uuid` its transcript holds already is left out. So is, where
        `offsets` says where each raw stands in its file, one without a uuid that was
        read from the same offset before with the same content; other entries without a
        uuid are always new, unless the whole write is repeated under the same `batch`: a
        name of the caller's that no other write has. A caller that may have to repeat a
        write, because it raised and nobody knows whether it was kept, gives it one.

        A transcript unknown so far belongs to `session_id`, which is created if need be;
        else to the session of the `lease`, else to that of the same SDK session id, else to
        that of the transcript it was forked from, else to a new session named as the SDK
        session id (with a number added where another project has one of that name).

        `inherited` says whether all of them are; None goes by their `forkedFrom`.
        """

    async def write_all(
        self, additions: Sequence[Addition]
    ) -> Sequence[list[StoredEntry] | Exception]:
        """Carry out several writes, in any order, sharing what they can; durable when it
        returns. Returns what each came to: what `write` returns, or the exception that
        it raises, which concerns that one alone. May raise a `StoreError` for them all."""
        writes = (self.write(**addition._asdict()) for addition in additions)
        return await asyncio.gather(*map(_attempt, writes))

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Store what the SDK mirrors; see `write`."""
        await self.write(key, [encode(entry) for entry in entries])

    @abstractmethod
    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """A transcript's entries, for the SDK to resume from; None where it is unknown.

        Raw lines that are no JSON objects are left out; `entries` gives them.
        """

    @abstractmethod
    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The main transcripts of a project, newest first."""

    @abstractmethod
    async def list_session_summaries(self, project_key: str) -> list[SessionSummaryEntry]:
        """The SDK's digests of the main transcripts of a project, newest first."""

    @abstractmethod
    async def delete(self, key: SessionKey) -> None:
        """Delete a transcript; a main one with its subagents'. A session without any
        transcript left goes with all that was recorded of it; otherwise the numbers of
        the deleted entries are not given again."""

    @abstractmethod
    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The subpaths of the subagent transcripts of an SDK session."""

    @abstractmethod
    async def create_session(
        self,
        session_id: str,
        *,
        project_key: str,
        head: str | None = None,
        objective: str | None = None,
        cwd: str | None = None,
        policy: str | None = None,
        submission: str | None = None,
        state: SessionState = SessionState.RUNNING,
    ) -> SessionRow:
        """Create a session, or return the one of this id as it stands."""

    @abstractmethod
    async def update_session(
        self,
        session_id: str,
        *,
        state: SessionState | None = None,
        state_reason: str | None = None,
        head: str | None = None,
        objective: str | None = None,
        cwd: str | None = None,
        policy: str | None = None,
        submission: str | None = None,
        lease: Lease | None = None,
    ) -> None:
        """Set what is given; None leaves as is. Raises `TranscriptError` where there is
        no such session."""

    @abstractmethod
    async def session(self, session_id: str) -> SessionRow:
        """The session of this id, or of the one id that begins so. The id of one of its
        transcripts will do.

        Raises `TranscriptError` where there is none, naming the nearest ids, or several.
        """

    @abstractmethod
    async def sessions(
        self, limit: int = 100, *, before: tuple[datetime, str] | None = None
    ) -> list[SessionRow]:
        """The sessions, the last changed first; those that come behind `before`, the
        `updated_at` and id of one, where that is given."""

    @abstractmethod
    async def runnable(self, limit: int) -> list[SessionRow]:
        """The sessions that a worker may take, oldest first: the queued ones, and those
        with a submission whose worker is gone, which are running under a lease that has
        expired or was released.

        A running session without a submission is some program's own and is left out.
        """

    @abstractmethod
    async def acquire_lease(self, session_id: str, *, owner: str, ttl: timedelta) -> Lease:
        """Take the right to run a session for `ttl`. A new holder gets the next epoch; the
        last holder, asking again, keeps its epoch, also after the lease has expired.

        Raises `LeaseHeld` while another owner's lease is alive, and `TranscriptError` where
        there is no such session.
        """

    @abstractmethod
    async def renew_lease(self, lease: Lease, *, ttl: timedelta) -> Lease:
        """Hold a lease for another `ttl` from now. One that has expired is renewed as long
        as nobody took the session. Raises `LeaseLost` where somebody did."""

    @abstractmethod
    async def release_lease(self, lease: Lease) -> None:
        """Let a lease expire now. Harmless where it is lost or the session is gone."""

    @abstractmethod
    async def lease(self, session_id: str) -> Lease | None:
        """The lease on a session, alive or the last one; None where it never had one.
        Whether it is alive is for the store's clock to say: see `SessionRow.lease`.

        Raises `TranscriptError` where there is no such session.
        """

    @abstractmethod
    async def session_of(self, project_key: str, sdk_session_id: str) -> str | None:
        """The session that an SDK session's transcripts belong to; None where it has none
        here. Cheap, unlike a `session` that is not found."""

    @abstractmethod
    async def live_leases(self) -> list[Lease]:
        """The leases on sessions that are alive, by the store's clock."""

    @abstractmethod
    async def acquire_folder(self, name: str, *, owner: str, ttl: timedelta) -> Folder:
        """Take the right to follow a folder for `ttl`; a folder that is new is made. As with
        a session's lease, whose `session_id` is the folder's name here. Raises `LeaseHeld`
        while another owner's lease is alive."""

    @abstractmethod
    async def renew_folder(self, lease: Lease, *, ttl: timedelta) -> Folder:
        """Hold a folder's lease for another `ttl` from now. Raises `LeaseLost`."""

    @abstractmethod
    async def release_folder(self, lease: Lease) -> None:
        """Let a folder's lease expire now. Harmless where it is lost."""

    @abstractmethod
    async def folder(self, name: str) -> Folder | None:
        """The folder of that name; None where nobody ever followed it."""

    @abstractmethod
    async def live_folders(self) -> list[Folder]:
        """The folders that somebody follows now, by the store's clock."""

    @abstractmethod
    async def keep_marks(self, marks: Sequence[FileMark], *, lease: Lease) -> None:
        """Keep how far files of the lease's folder were read; a mark replaces the file's last
        one. Raises `LeaseLost`, and keeps nothing, where another has the folder."""

    @abstractmethod
    async def marks(self, name: str) -> list[FileMark]:
        """How far the files of a folder were read, by path."""

    async def entries(
        self, session_id: str, *, after: int = 0, transcript: str | None = None
    ) -> AsyncIterator[StoredEntry]:
        """The entries of a session whose `seq` is greater than `after`, in order, read in
        batches; of one SDK session id and its subagents if `transcript` says so.

        Raises `TranscriptError` where there is no such session.
        """
        while batch := await self.next_entries(session_id, after=after, transcript=transcript):
            for entry in batch:
                yield entry
            after = batch[-1].seq
            batch.clear()  # before the next ones come

    @abstractmethod
    async def next_entries(
        self, session_id: str, *, after: int = 0, transcript: str | None = None
    ) -> list[StoredEntry]:
        """The first of what `entries` yields: some hundreds, or some megabytes, whichever is
        less; an empty list at the end."""

    @abstractmethod
    async def record(self, *items: Recorded, lease: Lease | None = None) -> None:
        """Record all of them in one transaction. What is recorded already stays as it is,
        so doing it twice is harmless. Raises `TranscriptError` where a session is unknown.
        """

    @abstractmethod
    async def recorded(
        self,
        kind: type[ListedT],
        session_id: str,
        *,
        after: Position = START,
        limit: int | None = None,
    ) -> Part[ListedT]:
        """What was recorded of a session, of one kind: what stands behind `after`, at most
        `limit` of it. Verdicts, decisions and outcomes stand by the `seq` they have, also where
        they come late; those with an equal one, and everything else, as they were recorded.

        Raises `TranscriptError` where there is no such session.
        """

    async def verdicts(self, session_id: str) -> list[Verdict]:
        """The verdicts on a session, by the entry they are on."""
        return (await self.recorded(Verdict, session_id)).items

    async def decisions(self, session_id: str) -> list[Decision]:
        """The decisions in a session, by the entry of their verdict."""
        return (await self.recorded(Decision, session_id)).items

    @abstractmethod
    async def decisions_like(self, prefix: str, *, limit: int) -> list[Decision]:
        """The decisions of any session whose id begins so, by id, at most so many."""

    async def outcomes(self, session_id: str) -> list[Outcome]:
        """The outcomes in a session, by the entry that settled them."""
        return (await self.recorded(Outcome, session_id)).items

    async def intents(self, session_id: str) -> list[Intent]:
        """The tool calls that were about to run, in order."""
        return (await self.recorded(Intent, session_id)).items

    @abstractmethod
    async def prompts(self, session_id: str) -> list[SentPrompt]:
        """The prompts that were about to be sent, in order."""

    async def words(self, session_id: str) -> list[Word]:
        """What people said to the session and its agent did not get yet, in order."""
        return (await self.recorded(Word, session_id)).items

    async def incidents(self, session_id: str) -> list[Incident]:
        """What went wrong on Lucid's side, in order."""
        return (await self.recorded(Incident, session_id)).items

    @abstractmethod
    async def write_files(
        self,
        session_id: str,
        snapshot_id: str,
        number: int,
        data: bytes,
        *,
        lease: Lease | None = None,
    ) -> None:
        """Keep one piece of the content of a checkpoint of files, numbered from 0. What was
        kept under that number before is replaced."""

    @abstractmethod
    async def record_files(self, kept: FilesRecord, *, lease: Lease | None = None) -> None:
        """Record a checkpoint of files, once its content is written. It goes with its session,
        and so does its content."""

    async def files(self, session_id: str) -> list[FilesRecord]:
        """The checkpoints of the session's files, in the order in which they were recorded."""
        return (await self.recorded(FilesRecord, session_id)).items

    async def read_files(self, kept: FilesRecord) -> AsyncIterator[bytes]:
        """The content of a checkpoint of files, piece by piece. Raises `StoreError` where one
        is missing."""
        for number in range(kept.chunks):
            yield piece_of(kept, number, await self.piece_of_files(kept, number))

    @abstractmethod
    async def piece_of_files(self, kept: FilesRecord, number: int) -> bytes | None:
        """One piece of that content; None where it is missing."""

    @abstractmethod
    async def transcripts(self, session_id: str) -> list[SessionKey]:
        """The keys of the transcripts of a session, subagents' too, in the order in which
        they came. Raises `TranscriptError` where there is no such session."""

    @abstractmethod
    async def restore(
        self,
        row: SessionRow,
        *,
        transcripts: Sequence[SessionKey] = (),
        entries: Sequence[StoredEntry] = (),
        lease: Lease | None = None,
    ) -> None:
        """Put back a part of a session that was taken from a store, in one transaction.

        The session, which is there, gets what `row` says, its lease and counts apart. Those
        of `transcripts` that are not there yet are made; `entries`, which are not there yet
        and whose transcripts are, get the numbers they have. Raises `TranscriptError` where
        a transcript is another session's, or an entry is there already.
        """

    @abstractmethod
    async def prunable(
        self, before: datetime, *, unfinished: bool = False, limit: int = 1_000
    ) -> list[SessionRow]:
        """The sessions that `prune` would delete, the last to change last."""

    @abstractmethod
    async def remove(self, session_id: str, *, at_most: int, lease: Lease | None = None) -> int:
        """Delete the newest entries of a session, and where that was all of them the session
        with all that belongs to it. Returns how many were deleted: fewer than `at_most`
        means that the session is gone. Until then it is marked as one that is being deleted.
        """

    @abstractmethod
    async def seal_part(self, table: Table, after: Place) -> SealedPart:
        """Seal some rows of a table with the newest key, those behind `after`, in one
        transaction: see `sealing.seal`. Raises `StoreError` where the key is missing that
        one of them was sealed with, and changes nothing then."""

    async def delete_session(self, lease: Lease) -> int:
        """Delete the session that a lease is on, in transactions that keep nobody waiting.
        Returns how many entries it had."""
        total = 0
        while True:
            count = await self.remove(lease.session_id, at_most=_REMOVED_AT_ONCE, lease=lease)
            total += count
            if count < _REMOVED_AT_ONCE:
                return total
            lease = await self.renew_lease(lease, ttl=_REMOVAL_TTL)

    async def prune(
        self, before: datetime, *, unfinished: bool = False, limit: int = 1_000
    ) -> list[Removed]:
        """Delete sessions last changed before a time, at most `limit` of them, oldest first.

        Those that are queued or run under a live lease stay, and so do those that were left
        running, which can be resumed, unless `unfinished`. Each is held by a lease while it
        is deleted, in transactions that keep nobody waiting; a prune that is interrupted
        leaves the beginning of one session, and the next prune goes on with it.
        """
        removed: list[Removed] = []
        for row in await self.prunable(before, unfinished=unfinished, limit=limit):
            try:
                entries = await self._prune(row)
            except (LeaseHeld, LeaseLost, TranscriptError):
                continue  # another worker was quicker: to resume it, or to delete it
            if entries is not None:
                removed.append(Removed(session_id=row.session_id, entries=entries))
        return removed

    async def _prune(self, row: SessionRow) -> int | None:
        """Delete one session unless it was changed since; returns how many entries it had."""
        owner = f"{socket.gethostname()}/{os.getpid()} (prune {uuid4().hex[:8]})"
        lease = await self.acquire_lease(row.session_id, owner=owner, ttl=_REMOVAL_TTL)
        now = await self.session(row.session_id)
        if now.session_id != row.session_id or now.updated_at != row.updated_at:
            await self.release_lease(lease)
            return None
        return await self.delete_session(lease)
