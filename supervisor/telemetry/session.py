"""`SessionTelemetry`: one session's verdicts as events, its actions as spans.

All of it has the session's id as `gen_ai.conversation.id`. By default no text of a
transcript is in it; where OpenTelemetry's own switch for content is on, it is bounded, and
secrets are left out.
"""

from __future__ import annotations

import logging
import os
from collections import OrderedDict
from datetime import UTC, datetime

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context

from supervisor.core.decision import Choice, Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.text import one_line
from supervisor.core.verdict import Severity, Verdict
from supervisor.privacy.redaction import redactor
from supervisor.store.interface import Incident
from supervisor.telemetry.conventions import GenAi, Lucid
from supervisor.telemetry.sending import Sender

__all__ = ["SessionTelemetry"]

log = logging.getLogger(__name__)

Attributes = dict[str, str | int | float]

_MOST_OPEN = 256
"""Actions of a session whose outcome is waited for at the same time; the oldest goes out as
it stands then."""
_LONGEST_TEXT = 500
_CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"
_IN_EVENTS = frozenset({"event_only", "span_and_event", "true", "1"})
"""Its values that want text in events: the conventions' utilities', and those before them."""
_SEVERITIES = {
    Severity.INFO: SeverityNumber.INFO,
    Severity.WARNING: SeverityNumber.WARN,
    Severity.CRITICAL: SeverityNumber.ERROR,
}
_FAILED = frozenset({OutcomeStatus.FAILED, OutcomeStatus.RELAPSED})


class SessionTelemetry:
    """One session, as long as this process supervises it. Methods return at once."""

    def __init__(self, session_id: str, sender: Sender) -> None:
        self._session: Attributes = {GenAi.CONVERSATION_ID: session_id}
        self._sender = sender
        self._quotes = os.environ.get(_CONTENT, "").strip().lower() in _IN_EVENTS
        self._open: OrderedDict[str, Span] = OrderedDict()
        about: Attributes = {GenAi.OPERATION_NAME: "invoke_agent", GenAi.PROVIDER_NAME: "anthropic"}
        self._root = sender.tracer.start_span(
            "invoke_agent", Context(), kind=SpanKind.INTERNAL, attributes=self._session | about
        )
        self._context = set_span_in_context(self._root, Context())

    def tell(self, event: Verdict | Decision | Outcome | Incident) -> None:
        """Something is on record. What fails here fails nobody else."""
        try:
            self._told(event)
        except Exception:  # a library's fault must not stop an agent
            log.exception("telemetry: a %s does not go out", type(event).__name__)

    def _told(self, event: Verdict | Decision | Outcome | Incident) -> None:
        match event:
            case Verdict():
                self._verdict(event)
            case Decision():
                self._decision(event)
            case Outcome():
                self._outcome(event)
            case Incident():
                self._incident(event)

    def end(self) -> None:
        """This process supervises the session no more; what is open stays without outcome."""
        for span in self._open.values():
            span.end()
        self._open.clear()
        self._root.end()

    def _verdict(self, verdict: Verdict) -> None:
        about: Attributes = {
            GenAi.EVALUATION_NAME: verdict.failure_mode,
            GenAi.EVALUATION_SCORE_VALUE: verdict.confidence,
            GenAi.EVALUATION_SCORE_LABEL: verdict.severity,
            Lucid.DETECTOR: verdict.detector,
            Lucid.ENTRY: verdict.seq,
            Lucid.ONSET: verdict.onset_seq,
            **_agent(verdict.agent_id),
            **self._quoted(GenAi.EVALUATION_EXPLANATION, verdict.summary),
        }
        self._emit(Lucid.EVALUATION, about, severity=_SEVERITIES[verdict.severity])

    def _decision(self, decision: Decision) -> None:
        verdict = decision.verdict
        about: Attributes = {
            Lucid.DECISION_ID: decision.id,
            Lucid.CHOICE: decision.choice,
            Lucid.FAILURE_MODE: verdict.failure_mode,
            Lucid.ENTRY: decision.seq,
            **_agent(verdict.agent_id),
        }
        if decision.rule is not None:
            about[Lucid.RULE] = decision.rule
        if decision.choice is not Choice.ACT or decision.action is None:
            self._emit(Lucid.DECISION, about, at=decision.at)
            return
        about |= {Lucid.ACTION: decision.action, Lucid.ATTEMPT: decision.attempt}
        self._open[decision.id] = self._sender.tracer.start_span(
            f"lucid.action {decision.action}",
            self._context,
            kind=SpanKind.INTERNAL,
            attributes=self._session | about,
            start_time=_nanoseconds(decision.at),
        )
        if len(self._open) > _MOST_OPEN:
            _, oldest = self._open.popitem(last=False)
            oldest.end()

    def _outcome(self, outcome: Outcome) -> None:
        about: Attributes = {
            Lucid.DECISION_ID: outcome.decision_id,
            Lucid.ACTION: outcome.action,
            Lucid.FAILURE_MODE: outcome.failure_mode,
            Lucid.STATUS: outcome.status,
            **_agent(outcome.agent_id),
        }
        span = self._open.pop(outcome.decision_id, None)
        context = self._context
        if span is not None:
            span.set_attribute(Lucid.STATUS, outcome.status)
            if outcome.status is OutcomeStatus.CLEARED:
                span.set_status(Status(StatusCode.OK))
            elif outcome.status in _FAILED:
                span.set_status(Status(StatusCode.ERROR, outcome.status))
            span.end(_nanoseconds(outcome.at))
            context = set_span_in_context(span, Context())
        self._emit(Lucid.OUTCOME, about, at=outcome.at, context=context)

    def _incident(self, incident: Incident) -> None:
        about: Attributes = {Lucid.SOURCE: incident.source}
        if incident.seq is not None:
            about[Lucid.ENTRY] = incident.seq
        self._emit(Lucid.INCIDENT, about, at=incident.at, severity=SeverityNumber.WARN)

    def _emit(
        self,
        name: str,
        about: Attributes,
        *,
        at: datetime | None = None,
        severity: SeverityNumber = SeverityNumber.INFO,
        context: Context | None = None,
    ) -> None:
        self._sender.events.emit(
            timestamp=_nanoseconds(at or datetime.now(UTC)),
            context=context or self._context,
            severity_number=severity,
            attributes=self._session | about,
            event_name=name,
        )

    def _quoted(self, name: str, text: str) -> Attributes:
        if not self._quotes:
            return {}
        plain = redactor().text(text).encode(errors="replace").decode()
        return {name: one_line(plain, _LONGEST_TEXT)}


def _agent(agent_id: str | None) -> Attributes:
    return {} if agent_id is None else {GenAi.AGENT_ID: agent_id}


def _nanoseconds(at: datetime) -> int:
    return int(at.timestamp() * 1_000_000) * 1_000
