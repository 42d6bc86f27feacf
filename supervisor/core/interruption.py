"""`Interruption`: why a turn ended that should not have, and how to go on.

`Failure` is what could be seen from outside the transcript, as a value; `Interruption` is
what `diagnose` concludes from it, the transcript's tail and the intents.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

import msgspec

from supervisor.core.entry import Prompt

__all__ = [
    "Cause",
    "Failure",
    "FailureKind",
    "Fate",
    "GoOn",
    "Interruption",
    "LostCall",
    "Outage",
    "Sent",
]


class Cause(StrEnum):
    """Why a turn ended: each is a row of the table in docs/interruptions.md."""

    CANNOT_START = "cannot_start"
    LIMIT_REACHED = "limit_reached"
    FINISHED_UNSEEN = "finished_unseen"
    DRAINED = "drained"
    HANG = "hang"
    INTERRUPTED = "interrupted"

    ORPHAN_TOOL_USE = "orphan_tool_use"
    COMPACTION_FAILED = "compaction_failed"
    NOTHING_TO_COMPACT = "nothing_to_compact"
    PROMPT_TOO_LONG = "prompt_too_long"
    BILLING = "billing"
    NOT_AUTHENTICATED = "not_authenticated"
    FORBIDDEN = "forbidden"
    MODEL_NOT_FOUND = "model_not_found"
    USAGE_LIMIT = "usage_limit"
    RATE_LIMITED = "rate_limited"
    OVERLOADED = "overloaded"
    SERVER_ERROR = "server_error"
    CONNECTION_REFUSED = "connection_refused"
    NAME_NOT_RESOLVED = "name_not_resolved"
    TIMEOUT_DURING_OUTPUT = "timeout_during_output"
    TIMEOUT_BEFORE_OUTPUT = "timeout_before_output"
    STREAM_DROPPED = "stream_dropped"
    MISCONFIGURED = "misconfigured"
    INVALID_REQUEST = "invalid_request"
    UNKNOWN_ERROR = "unknown_error"

    PROMPT_LOST = "prompt_lost"
    KILLED_IN_CALL = "killed_in_call"
    KILLED_BEFORE_CALL = "killed_before_call"
    KILLED_AFTER_CALL = "killed_after_call"
    KILLED_IN_OUTPUT = "killed_in_output"


class GoOn(StrEnum):
    """The ways to go on."""

    RESEND = "resend"
    """Drop the failed turn (fork before it) and send its prompt again: the model sees it
    once."""
    CONTINUE = "continue"
    """Resume, with a prompt that does not repeat the objective's text."""
    VERIFY = "verify"
    """Resume; name the calls that may have run, to be verified before they are repeated."""
    HAND_OVER = "hand_over"
    """The turn is finished: give its answer to the caller and ask the model nothing."""
    COMPACT = "compact"
    """Compact; then continue. If that fails, diagnose `Failure.compaction_failed()`."""
    ROLL_BACK = "roll_back"
    """Fork before the oversized entry, so that it leaves the context; then continue."""
    REPAIR = "repair"
    """Fork at the last checkpoint before the broken pair; then continue."""
    PAUSE = "pause"
    """A person stopped it: go on when a person says so."""
    STOP = "stop"
    """No retry can help: escalate."""


class Fate(StrEnum):
    """What became of a tool call, as far as it can be told."""

    UNKNOWN = "unknown"
    """It was about to run, and no result came."""
    CUT_OFF = "cut_off"
    """It was interrupted: its result does not say what it did."""
    IN_BACKGROUND = "in_background"
    """It was at work in the background when its process ended."""
    UNREPORTED = "unreported"
    """A subagent ran it to its end, and has not reported."""
    OUT_OF_SIGHT = "out_of_sight"
    """It ran to its end, and going on takes it out of the model's sight."""
    NOT_RUN = "not_run"
    """The model asked for it, and it was not begun: its intent was never written."""


class LostCall(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call that the model does not know the outcome of."""

    call_id: str
    tool: str
    input: msgspec.Raw = msgspec.Raw(b"{}")
    agent_id: str | None = None
    """The subagent that made it; None for the main agent."""
    fate: Fate = Fate.UNKNOWN


class FailureKind(StrEnum):
    """What ended a turn, seen from outside the transcript."""

    RESULT = "result"
    """The runtime's own result message, or the error that is raised in its place."""
    NOT_STARTED = "not_started"
    """There is no program to run the agent."""
    PROCESS = "process"
    """The agent's process ended, did not answer, or wrote what cannot be read."""
    SILENT = "silent"
    """No message for longer than allowed."""
    RETRYING = "retrying"
    """The runtime was to wait for its next attempt for longer than wanted."""
    WORKER_DIED = "worker_died"
    """The worker that ran the session is gone."""
    DRAINED = "drained"
    """The worker let go of the session because it was told to stop."""
    COMPACTION_FAILED = "compaction_failed"
    """The context was too long, and what was tried to compact it was in vain."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """How a turn ended, in the words of the Agent SDK. Its strings are untrusted."""

    kind: FailureKind
    subtype: str | None = None
    terminal_reason: str | None = None
    status: int | None = None
    """The HTTP status of the failing model call."""
    is_error: bool = True
    text: str = ""
    exit_code: int | None = None
    """Of the agent's process, where it ended."""
    not_before: datetime | None = None
    """When the service allows the next call, where it said so. Zone-aware."""

    @classmethod
    def silent(cls, after: timedelta) -> Failure:
        """No message came for `after`."""
        text = f"no message for {after.total_seconds():.0f} s"
        return cls(kind=FailureKind.SILENT, text=text)

    @classmethod
    def retrying(cls, status: int | None, until: datetime) -> Failure:
        """A model call failed, and the runtime's next attempt was due at `until` only, so
        that its process was ended. What it announces in a `SystemMessage` with the subtype
        `api_retry`: `error_status`, and `retry_delay_ms` from then on."""
        return cls(kind=FailureKind.RETRYING, status=status, not_before=until)

    @classmethod
    def worker_died(cls) -> Failure:
        """The worker is gone: killed, out of memory, its machine lost."""
        return cls(kind=FailureKind.WORKER_DIED)

    @classmethod
    def drained(cls) -> Failure:
        """The worker stopped in good order in the middle of the turn."""
        return cls(kind=FailureKind.DRAINED)

    @classmethod
    def compaction_failed(cls) -> Failure:
        """To be said after `GoOn.COMPACT` was tried in vain."""
        return cls(kind=FailureKind.COMPACTION_FAILED)

    @property
    def process_lives(self) -> bool:
        """Whether the agent's process outlived the turn, and what it does in the
        background with it."""
        return self.kind is FailureKind.RESULT and self.exit_code is None


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """The prompt that the turn was to answer, as its sender knows it."""

    text: str
    uuid: str | None = None
    """Its `uuid` on the wire, which the transcript keeps; without one, texts are compared."""


class Interruption(msgspec.Struct, frozen=True, kw_only=True):
    """What happened to a turn, and how to go on."""

    cause: Cause
    go_on: GoOn
    reason: str
    """One sentence for a person; may quote the service, bounded."""
    back_off: bool = False
    """Wait, longer each time, before going on: the service or the way to it is at fault."""
    not_before: datetime | None = None
    """When the service allows the next call, where it said so. Zone-aware."""
    calls_in_doubt: tuple[LostCall, ...] = ()
    """Calls that ran, wholly or in part, or may have; in the order in which they began,
    those that are only unreported last."""
    calls_not_run: tuple[LostCall, ...] = ()
    """Calls that the model asked for and that were certainly not begun."""
    agents_cut_off: tuple[str, ...] = ()
    """Subagents that had not finished; they do not go on by themselves."""
    prompt: Prompt | None = None
    """The prompt that began the turn, as it stands in the transcript; None where it does
    not stand there."""
    fork_before: int | None = None
    """The `seq` of the first entry to leave behind, where going on takes a fork."""
    answer: str | None = None
    """What a finished turn ended with, to be handed over."""

    @property
    def retryable(self) -> bool:
        """Whether a machine may go on without asking a person."""
        return self.go_on not in {GoOn.STOP, GoOn.PAUSE}

    @property
    def asks_again(self) -> bool:
        """Whether the turn's own prompt is to be sent (again): it does not stand in the
        transcript, or the fork leaves it behind."""
        if not self.retryable or self.go_on is GoOn.HAND_OVER:
            return False
        if self.prompt is None:
            return True
        return self.fork_before is not None and self.fork_before <= self.prompt.seq

    def wait(self, now: datetime) -> timedelta | None:
        """How long the service asks to wait yet; None where it did not say."""
        if self.not_before is None:
            return None
        return max(self.not_before - now, timedelta())


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """A turn that is interrupted, as its supervisor sees it. It lasts until the model
    answers again."""

    interruption: Interruption
    """The newest."""
    began: datetime
    """When the first of them came. Zone-aware."""
    cost_usd: float = 0.0
    """What the turn has cost so far, as far as the runtime said."""
