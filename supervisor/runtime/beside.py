"""`Beside`: texts that wait to be read beside an agent's next tool result."""

from __future__ import annotations

from supervisor.core.decision import Decision
from supervisor.runtime.supervision import Supervision

__all__ = ["Beside"]


class Beside:
    """What waits for the tool boundaries of one session's agents."""

    def __init__(self, supervision: Supervision) -> None:
        self._supervision = supervision
        self._texts: dict[str | None, list[tuple[Decision, str]]] = {}
        self._news: dict[str | None, list[str]] = {}

    def add(self, decision: Decision, text: str) -> None:
        """Have `text` read beside the next tool result of the verdict's agent, as long as it
        is to be seen what comes of the decision."""
        self._texts.setdefault(decision.verdict.agent_id, []).append((decision, text))
        self._supervision.queued(decision)

    def tell(self, agent_id: str | None, text: str) -> None:
        """Have an agent read beside its next tool result what was done to another; nothing
        depends on whether it does."""
        self._news.setdefault(agent_id, []).append(text)

    def take(self, agent_id: str | None, call_id: str, word: str | None = None) -> str | None:
        """All that waits for an agent, which reads it beside the result of this call, and
        before it a person's `word`; None where nothing does."""
        queued = self._texts.pop(agent_id, [])
        pending = [item for item in queued if self._supervision.outcomes.is_pending(item[0])]
        words = [] if word is None else [word]
        texts = [*words, *(text for _, text in pending), *self._news.pop(agent_id, [])]
        for decision, _ in pending:
            self._supervision.outcomes.shown(decision, call_id)
        return "\n\n".join(texts) or None

    def withdraw(self) -> list[Decision]:
        """Forget the texts that nothing was shown beside; returns whose they were."""
        decisions = [decision for texts in self._texts.values() for decision, _ in texts]
        self._texts.clear()
        self._news.clear()
        return decisions
