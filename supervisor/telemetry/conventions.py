"""The names under which telemetry goes out: OpenTelemetry's conventions for generative AI,
and Lucid's own for what these have none for."""

from __future__ import annotations

from typing import Final

__all__ = ["GenAi", "Lucid"]


class GenAi:
    """Of the conventions, as `opentelemetry-semantic-conventions` has them."""

    AGENT_ID: Final = "gen_ai.agent.id"
    CONVERSATION_ID: Final = "gen_ai.conversation.id"
    EVALUATION_EXPLANATION: Final = "gen_ai.evaluation.explanation"
    EVALUATION_NAME: Final = "gen_ai.evaluation.name"
    EVALUATION_SCORE_LABEL: Final = "gen_ai.evaluation.score.label"
    EVALUATION_SCORE_VALUE: Final = "gen_ai.evaluation.score.value"
    OPERATION_NAME: Final = "gen_ai.operation.name"
    PROVIDER_NAME: Final = "gen_ai.provider.name"


class Lucid:
    """Lucid's own."""

    EVALUATION: Final = "gen_ai.evaluation.result"
    """The event of the conventions that a verdict is."""
    DECISION: Final = "lucid.decision"
    OUTCOME: Final = "lucid.outcome"
    INCIDENT: Final = "lucid.incident"

    ACTION: Final = "lucid.action.name"
    ATTEMPT: Final = "lucid.action.attempt"
    CHOICE: Final = "lucid.decision.choice"
    DECISION_ID: Final = "lucid.decision.id"
    DETECTOR: Final = "lucid.detector.name"
    ENTRY: Final = "lucid.entry.seq"
    FAILURE_MODE: Final = "lucid.failure_mode"
    ONSET: Final = "lucid.entry.onset_seq"
    RULE: Final = "lucid.rule.name"
    SOURCE: Final = "lucid.incident.source"
    STATUS: Final = "lucid.outcome.status"
