"""`diagnose`: why a turn ended, and how to go on. The table it goes by is in `causes`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from claude_agent_sdk import (
    CLINotFoundError,
    ProcessError,
    RateLimitInfo,
    ResultError,
    ResultMessage,
)

from supervisor.core.entry import Entry
from supervisor.core.intent import Intent
from supervisor.core.interruption import Failure, FailureKind, GoOn, Interruption, Sent
from supervisor.core.text import one_line
from supervisor.core.verdict import Evidence, Fact, FailureMode, Severity, Verdict
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime.causes import ROWS, WAYS, Condition, Row
from supervisor.runtime.tail import Tail
from supervisor.store.interface import Store

__all__ = ["diagnose", "diagnose_stored", "failure_of", "read_entries", "verdict_on"]

_QUOTED = 200  # characters of the service's words in a reason
_NAMED = 20  # calls in doubt named in a verdict


def diagnose(
    entries: Sequence[Entry],
    intents: Sequence[Intent],
    error: Failure | None,
    *,
    sent: Sent | None = None,
) -> Interruption:
    """Why a turn ended, and how to go on.

    `entries` are those of the transcript that the turn ran in, its subagents' among them,
    at least from the turn's prompt on. The whole transcript is better: a broken pair or an
    oversized result may stand before the prompt. `intents` may be all of the session's.

    `error` is what was seen from outside; None where nobody was there, which is as good as
    `Failure.worker_died()`. `sent` is the prompt in question: without it the last one that
    stands in the transcript is, and a prompt that was lost before it got there cannot be
    missed.
    """
    tail = Tail.of(entries, intents, error, sent)
    row = next(row for row in ROWS if _hold(row.when, tail))
    go_on = row.go_on or _way(row, tail)
    fork_before = _fork_before(go_on, tail)
    in_doubt = tail.in_doubt
    if fork_before is not None and go_on is not GoOn.RESEND:
        in_doubt = (*tail.left_behind(fork_before), *in_doubt)
    return Interruption(
        cause=row.cause,
        go_on=go_on,
        reason=_sentence(row, tail),
        back_off=row.back_off,
        not_before=tail.not_before,
        calls_in_doubt=in_doubt,
        calls_not_run=tail.not_run,
        agents_cut_off=tail.agents_cut_off,
        prompt=tail.prompt,
        fork_before=fork_before,
        answer=tail.answer if go_on is GoOn.HAND_OVER else None,
    )


async def diagnose_stored(
    store: Store,
    session_id: str,
    transcript: str,
    failure: Failure | None,
    *,
    turn_seq: int,
    sent: Sent | None = None,
) -> Interruption:
    """Why the last turn of a stored transcript, which began at `turn_seq`, ended. Reads the
    turn, or the whole transcript where the context or its pairs are at fault."""
    after = 0 if _needs_whole(failure) else max(0, turn_seq - 1)
    entries = await read_entries(store, session_id, transcript, after=after)
    return diagnose(entries, await store.intents(session_id), failure, sent=sent)


_FAULTY_CONTEXT = frozenset({400, 413})
"""Statuses of a request whose fault may stand before the turn's prompt."""
_FULL_CONTEXT = frozenset({"prompt_too_long", "blocking_limit", "rapid_refill_breaker"})
"""Terminal reasons of such a turn."""


def _needs_whole(failure: Failure | None) -> bool:
    """Whether what ended the turn may stand before its prompt."""
    return (
        failure is None
        or failure.kind is FailureKind.COMPACTION_FAILED
        or failure.status in _FAULTY_CONTEXT
        or failure.terminal_reason in _FULL_CONTEXT
    )


def _way(row: Row, tail: Tail) -> GoOn:
    open_ways = (way for way in WAYS if row.unanswered or not way.unanswered)
    return next(way.go_on for way in open_ways if _hold(way.when, tail))


def _hold(conditions: Sequence[Condition], tail: Tail) -> bool:
    return all(condition.holds(tail) for condition in conditions)


def _fork_before(go_on: GoOn, tail: Tail) -> int | None:
    prompt = tail.prompt.seq if tail.prompt is not None else None
    match go_on:
        case GoOn.RESEND:
            return prompt
        case GoOn.REPAIR:
            return tail.broken_pair() or prompt
        case GoOn.ROLL_BACK:
            return tail.largest() or prompt
        case _:
            return None


def _sentence(row: Row, tail: Tail) -> str:
    said = one_line(tail.text, _QUOTED) if tail.text and not tail.is_finished else ""
    return f"{row.reason}: {said}" if said else f"{row.reason}."


_DIAGNOSTIC = "[ede_diagnostic]"
"""How the CLI's notes to its own makers begin."""


def _told(errors: Sequence[str]) -> str:
    return "; ".join(error for error in errors if not error.startswith(_DIAGNOSTIC))


def failure_of(
    end: ResultMessage | BaseException, *, rate_limit: RateLimitInfo | None = None
) -> Failure:
    """What the SDK gave at the end of a turn, as a value.

    `rate_limit` is the newest of the turn's `RateLimitEvent`s, which says when a
    subscriber's limit ends.
    """
    resets_at = rate_limit.resets_at if rate_limit is not None else None
    match end:
        case ResultMessage() | ResultError():
            return Failure(
                kind=FailureKind.RESULT,
                subtype=end.subtype,
                terminal_reason=end.terminal_reason,
                status=end.api_error_status,
                is_error=end.is_error if isinstance(end, ResultMessage) else True,
                text=end.result or _told(end.errors or ()),
                exit_code=end.exit_code if isinstance(end, ResultError) else None,
                not_before=datetime.fromtimestamp(resets_at, UTC) if resets_at else None,
            )
        case CLINotFoundError():
            return Failure(kind=FailureKind.NOT_STARTED, text=str(end))
        case ProcessError():
            # What follows the first line only refers to the CLI's error output.
            text = str(end).partition("\n")[0]
            return Failure(kind=FailureKind.PROCESS, text=text, exit_code=end.exit_code)
        case _:
            return Failure(kind=FailureKind.PROCESS, text=str(end) or type(end).__name__)


def verdict_on(
    interruption: Interruption, *, session_id: str, transcript: str, seq: int, key: str
) -> Verdict:
    """An interruption as a verdict on the main agent, for the policy to decide on."""
    prompt = interruption.prompt
    onset = prompt.seq if prompt is not None else seq
    facts: dict[str, Fact] = {
        "cause": str(interruption.cause),
        "go_on": str(interruption.go_on),
        "calls_in_doubt": tuple(call.tool for call in interruption.calls_in_doubt[:_NAMED]),
    }
    return Verdict(
        session_id=session_id,
        transcript=transcript,
        seq=seq,
        onset_seq=min(onset, seq),
        detector="diagnosis",
        failure_mode=FailureMode.INTERRUPTION,
        severity=Severity.WARNING if interruption.retryable else Severity.CRITICAL,
        confidence=1.0,
        summary=interruption.reason,
        evidence=Evidence(entries=(seq,) if seq else (), facts=facts),
        key=key,
    )


async def read_entries(
    store: Store, session_id: str, transcript: str, *, after: int = 0
) -> list[Entry]:
    """A transcript's entries behind `after`, typed, its subagents' among them."""
    readers: dict[str, TranscriptReader] = {}
    entries: list[Entry] = []
    async for stored in store.entries(session_id, after=after, transcript=transcript):
        reader = readers.get(stored.subpath)
        if reader is None:
            reader = TranscriptReader(session_id, transcript, stored.agent_id)
            readers[stored.subpath] = reader
        entries.extend(reader.read(stored.raw, stored.seq, inherited=stored.inherited))
    return entries
