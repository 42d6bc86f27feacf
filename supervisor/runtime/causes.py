"""Why turns end, as a table: each cause, when it is the one, and how to go on.

`ROWS` are tried from the top and the first whose conditions all hold names the cause. A
row that does not say how to go on leaves that to `WAYS`, which look at how far the turn
had come. docs/interruptions.md shows both, and a test keeps it in step.

The words and codes are those of CLI 2.1.330, recorded in tests/fixtures/interruptions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.entry import ToolResult
from supervisor.core.interruption import Cause, FailureKind, GoOn
from supervisor.runtime.tail import Tail

__all__ = ["ROWS", "WAYS", "Condition", "Row", "Way"]


@dataclass(frozen=True)
class Condition:
    """One property of a turn's tail, in words and as a test."""

    said: str
    holds: Callable[[Tail], bool]


@dataclass(frozen=True)
class Row:
    """One cause: when it is this one, and how to go on."""

    cause: Cause
    when: tuple[Condition, ...]
    go_on: GoOn | None
    """None leaves it to `WAYS`."""
    reason: str
    """For a person; the service's own words are added where there are any."""
    back_off: bool = False
    unanswered: bool = False
    """The service did not take the request up: without output, the prompt is sent anew."""


@dataclass(frozen=True)
class Way:
    """How to go on from where a turn had come to."""

    when: tuple[Condition, ...]
    go_on: GoOn
    unanswered: bool = False
    """Only after a cause that is `unanswered`."""


def _kind(kind: FailureKind, said: str) -> Condition:
    return Condition(said, lambda tail: tail.kind is kind)


def _reason(*reasons: str) -> Condition:
    named = ", ".join(f"`{reason}`" for reason in reasons)

    def holds(tail: Tail) -> bool:
        return tail.result is not None and tail.result.terminal_reason in reasons

    return Condition(f"the result's `terminal_reason` is {named}", holds)


def _subtype(*subtypes: str) -> Condition:
    named = ", ".join(f"`{subtype}`" for subtype in subtypes)

    def holds(tail: Tail) -> bool:
        return tail.result is not None and tail.result.subtype in subtypes

    return Condition(f"its `subtype` is {named}", holds)


def _status(*statuses: int) -> Condition:
    named = " or ".join(str(status) for status in statuses)
    return Condition(f"the status is {named}", lambda tail: tail.status in statuses)


def _code(*codes: str) -> Condition:
    named = ", ".join(f"`{code}`" for code in codes)

    def holds(tail: Tail) -> bool:
        return tail.error is not None and tail.error.code in codes

    return Condition(f"the transcript's `apiError` is {named}", holds)


def _category(*categories: str) -> Condition:
    named = ", ".join(f"`{category}`" for category in categories)

    def holds(tail: Tail) -> bool:
        return tail.error is not None and tail.error.category in categories

    return Condition(f"the transcript's `error` is {named}", holds)


def _says(pattern: str, said: str) -> Condition:
    compiled = re.compile(pattern, re.IGNORECASE)

    def holds(tail: Tail) -> bool:
        return _FAILED_CALL.holds(tail) and compiled.search(tail.text) is not None

    return Condition(f"the error says {said}", holds)


def _any(*conditions: Condition) -> Condition:
    said = ", or ".join(condition.said for condition in conditions)
    return Condition(said, lambda tail: any(one.holds(tail) for one in conditions))


_FAILED_CALL = Condition("a model call failed", lambda tail: tail.call_failed)
_NOT_STARTED = _kind(FailureKind.NOT_STARTED, "there is no CLI where it should be")
_DRAINED = _kind(FailureKind.DRAINED, "the worker was told to stop")
_SILENT = _kind(FailureKind.SILENT, "no message came within the limit")
_FINISHED = Condition(
    "the last step is the text that ends the turn, and nothing is at work in the background",
    lambda tail: tail.is_finished,
)
_INTERRUPTED = _any(
    _reason("aborted_streaming", "aborted_tools"),
    Condition(
        "the last step is the runtime's mark of an interrupt, and nobody else says why",
        lambda tail: tail.was_interrupted,
    ),
)
_KNOWN_END = Condition(
    "it is known when the next call is allowed", lambda tail: tail.not_before is not None
)
_SERVER_FAULT = Condition(
    "the status is 500 or more", lambda tail: tail.status is not None and tail.status >= 500
)
_PASSING = {408, 409, 425}
"""Statuses below 500 that a later attempt may not get."""
_REFUSED = Condition(
    "the status is another 4xx, but for 408, 409 and 425",
    lambda tail: (tail.status or 0) >= 400 and tail.status not in _PASSING,
)
_SET_UP_WRONGLY = (
    "api_key_auth_disabled",
    "claude_code_version_too_old",
    "field_not_granted",
    "gateway_content_type",
    "gateway_session_expired",
    "gateway_signin_required",
    "invalid_credential_header",
    "model_substitution_disabled",
    "named_profile_unusable",
    "network_edge_blocked",
    "oauth_refresh_store_refused",
    "org_disabled_credential",
    "provider_credentials",
    "stored_login_refused",
    "tls_cert_signature_failure",
    "tls_untrusted_ca",
)
"""What Claude Code 2.1.330 itself files under `fix_setup`, but for two that are about a model."""
_NO_PROMPT = Condition(
    "the prompt does not stand in the transcript", lambda tail: tail.prompt is None
)
_IN_DOUBT = Condition(
    "a call may have run, or a subagent was at work",
    lambda tail: bool(tail.in_doubt or tail.agents_cut_off),
)
_NO_DOUBT = Condition(
    "no call may have run", lambda tail: not (tail.in_doubt or tail.agents_cut_off)
)
_NOT_RUN = Condition(
    "a call that the model asked for has no intent and no result",
    lambda tail: bool(tail.not_run),
)
_AFTER_CALL = Condition(
    "the last step is a tool result", lambda tail: isinstance(tail.last, ToolResult)
)
_NO_OUTPUT = Condition("nothing of an answer has landed", lambda tail: not tail.has_output)

_TOO_LONG = _any(
    _reason("prompt_too_long", "blocking_limit"),
    _says(r"^prompt is too long", "`Prompt is too long`"),
    _status(413),
)

_COMPACTED_IN_VAIN = _any(
    _kind(FailureKind.COMPACTION_FAILED, "a compaction of Lucid's was in vain"),
    _reason("rapid_refill_breaker"),
    _code("autocompact_thrashing"),
)

_TOO_LONG_AT_ALL = Condition(
    "the context is too long, as in the next two rows",
    _any(_TOO_LONG, _COMPACTED_IN_VAIN).holds,
)


def _has_nothing_to_drop(tail: Tail) -> bool:
    alone = tail.prompt is not None and tail.prompt.turn <= 1
    return tail.largest() is None and (alone or _COMPACTED_IN_VAIN.holds(tail))


_NOTHING_TO_DROP = Condition(
    "no tool result stands in the transcript, and the prompt is its first or compacting was "
    "in vain",
    _has_nothing_to_drop,
)

ROWS: tuple[Row, ...] = (
    Row(Cause.CANNOT_START, (_NOT_STARTED,), GoOn.STOP, "The agent's CLI is not there"),
    Row(
        Cause.LIMIT_REACHED,
        (
            _any(
                _reason("max_turns", "budget_exhausted", "structured_output_retry_exhausted"),
                _subtype("error_max_turns", "error_max_budget_usd"),
            ),
        ),
        GoOn.STOP,
        "A limit that the caller set is reached",
    ),
    Row(
        Cause.FINISHED_UNSEEN,
        (_FINISHED,),
        GoOn.HAND_OVER,
        "The turn is finished; its answer stands in the transcript",
    ),
    Row(Cause.DRAINED, (_DRAINED,), None, "The worker was told to stop and let go of the session"),
    Row(Cause.HANG, (_SILENT,), None, "The agent fell silent", back_off=True),
    Row(Cause.INTERRUPTED, (_INTERRUPTED,), GoOn.PAUSE, "A person interrupted the turn"),
    Row(
        Cause.ORPHAN_TOOL_USE,
        (
            _any(
                _code("tool_history_mismatch"),
                _says(r"tool_use.+tool_result|tool use concurrency", "that a pair is broken"),
            ),
        ),
        GoOn.REPAIR,
        "The service refuses the history: a tool call stands without its result",
    ),
    Row(
        Cause.NOTHING_TO_COMPACT,
        (_TOO_LONG_AT_ALL, _NOTHING_TO_DROP),
        GoOn.STOP,
        "The request is too long, and nothing can be left out of it",
    ),
    Row(
        Cause.COMPACTION_FAILED,
        (_COMPACTED_IN_VAIN,),
        GoOn.ROLL_BACK,
        "The context is too long, and compacting it was in vain",
    ),
    Row(Cause.PROMPT_TOO_LONG, (_TOO_LONG,), GoOn.COMPACT, "The context is too long"),
    Row(
        Cause.BILLING,
        (
            _any(
                _category("billing_error"),
                _status(402),
                _says(r"credit balance is too low", "that the credit is too low"),
            ),
        ),
        GoOn.STOP,
        "The account cannot pay",
    ),
    Row(
        Cause.MISCONFIGURED,
        (
            _any(
                _code(*_SET_UP_WRONGLY),
                _category(
                    "oauth_org_not_allowed",
                    "account_on_hold",
                    "verification_required",
                    "cloud_credential_error",
                ),
            ),
        ),
        GoOn.STOP,
        "The way to the service is not set up as it should be",
    ),
    Row(Cause.FORBIDDEN, (_status(403),), GoOn.STOP, "The service denies access"),
    Row(
        Cause.NOT_AUTHENTICATED,
        (_any(_status(401), _category("authentication_failed")),),
        GoOn.STOP,
        "The service rejects the credentials",
    ),
    Row(
        Cause.MODEL_NOT_FOUND,
        (_any(_status(404), _category("model_not_found")),),
        GoOn.STOP,
        "The service does not have the model",
    ),
    Row(
        Cause.USAGE_LIMIT,
        (_status(429), _KNOWN_END),
        None,
        "A usage limit is reached, and the service says until when",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.RATE_LIMITED,
        (_any(_status(429), _category("rate_limit")),),
        None,
        "The service takes no more requests for now",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.OVERLOADED,
        (_any(_status(529), _category("overloaded")),),
        None,
        "The service is overloaded",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.SERVER_ERROR,
        (_SERVER_FAULT,),
        None,
        "The service failed",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.INVALID_REQUEST,
        (_any(_REFUSED, _category("invalid_request")),),
        GoOn.STOP,
        "The service refuses the request",
    ),
    Row(
        Cause.CONNECTION_REFUSED,
        (_says(r"ECONNREFUSED|ENETUNREACH|EHOSTUNREACH", "`ECONNREFUSED` or that no way leads"),),
        None,
        "Nobody answers at the service's address",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.NAME_NOT_RESOLVED,
        (_says(r"ENOTFOUND|EAI_AGAIN|EAI_NODATA", "`ENOTFOUND` or `EAI_AGAIN`"),),
        None,
        "The service's name has no address",
        back_off=True,
        unanswered=True,
    ),
    Row(
        Cause.TIMEOUT_DURING_OUTPUT,
        (
            _any(
                _code("stream_idle_timeout"),
                _says(r"stream idle|stopped arriving", "that the stream fell silent"),
            ),
        ),
        None,
        "The answer stopped arriving",
        back_off=True,
    ),
    Row(
        Cause.TIMEOUT_BEFORE_OUTPUT,
        (
            _any(
                _status(408),
                _code("no_response"),
                _says(r"timed out|no response from|ETIMEDOUT", "that time ran out"),
            ),
        ),
        None,
        "No answer came in time",
        back_off=True,
    ),
    Row(
        Cause.STREAM_DROPPED,
        (
            _any(
                _code("connection_failed"),
                _says(
                    r"ECONNRESET|EPIPE|connection (?:lost|dropped)|to the API was lost",
                    "that the connection is lost",
                ),
            ),
        ),
        None,
        "The connection to the service was lost",
        back_off=True,
    ),
    Row(
        Cause.UNKNOWN_ERROR,
        (_FAILED_CALL,),
        None,
        "The turn ended in an error that Lucid does not know",
        back_off=True,
    ),
    Row(
        Cause.PROMPT_LOST,
        (_NO_PROMPT, _NO_DOUBT),
        GoOn.RESEND,
        "The prompt never reached the transcript",
        back_off=True,
    ),
    Row(Cause.KILLED_IN_CALL, (_IN_DOUBT,), None, "The agent's process ended during a tool call"),
    Row(
        Cause.KILLED_BEFORE_CALL,
        (_NOT_RUN,),
        None,
        "The agent's process ended before a tool call was begun",
    ),
    Row(
        Cause.KILLED_AFTER_CALL,
        (_AFTER_CALL,),
        None,
        "The agent's process ended between a tool result and the model's next step",
    ),
    Row(Cause.KILLED_IN_OUTPUT, (), None, "The agent's process ended while the model was asked"),
)
"""Why a turn ended; the last row always holds."""

WAYS: tuple[Way, ...] = (
    Way((_NO_PROMPT,), GoOn.RESEND),
    Way((_IN_DOUBT,), GoOn.VERIFY),
    Way((_NO_OUTPUT,), GoOn.RESEND, unanswered=True),
    Way((), GoOn.CONTINUE),
)
"""How to go on, by how far the turn had come; the last way always holds."""
