"""`Tally`: what a session came to, counted as its messages go by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from claude_agent_sdk import AssistantMessage, Message, ResultMessage, SystemMessage, ToolUseBlock

from supervisor.core.decision import Choice

__all__ = ["Acted", "Tally"]


@dataclass
class Acted:
    """One thing Lucid did, why, and what came of it."""

    action: str
    why: str
    """The verdict's summary; quotes the agent."""
    status: str = "open"
    reason: str = ""


@dataclass
class Tally:
    """Counts the messages of one session."""

    tool_calls: int = 0
    verdicts: Counter[str] = field(default_factory=Counter)
    decisions: Counter[str] = field(default_factory=Counter)
    acted: dict[str, Acted] = field(default_factory=dict)
    """By the decision's id, in order."""
    incidents: int = 0
    results: list[ResultMessage] = field(default_factory=list)

    def count(self, message: Message) -> None:
        """Take the next message."""
        if isinstance(message, AssistantMessage):
            self.tool_calls += sum(isinstance(block, ToolUseBlock) for block in message.content)
        elif isinstance(message, ResultMessage):
            self.results.append(message)
        elif isinstance(message, SystemMessage):
            self._count_event(message.subtype, message.data)

    def _count_event(self, subtype: str, data: Mapping[str, Any]) -> None:
        if subtype == "lucid_verdict":
            self.verdicts[data["failure_mode"]] += 1
        elif subtype == "lucid_decision":
            self._count_decision(data)
        elif subtype == "lucid_outcome" and (acted := self.acted.get(data["decision_id"])):
            acted.status, acted.reason = data["status"], data["reason"]
        elif subtype == "lucid_incident":
            self.incidents += 1

    def _count_decision(self, data: Mapping[str, Any]) -> None:
        if data["choice"] == Choice.ACT:
            self.decisions[data["action"]] += 1
            self.acted[data["id"]] = Acted(data["action"], data["verdict"]["summary"])
        else:
            self.decisions[data["choice"]] += 1

    @property
    def tokens(self) -> tuple[int, int]:
        """Tokens read and written over all turns."""
        usages = [result.usage or {} for result in self.results]
        names = ("input_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
        read = sum(usage.get(name) or 0 for usage in usages for name in names)
        return read, sum(usage.get("output_tokens") or 0 for usage in usages)

    @property
    def cost_usd(self) -> float | None:
        """Dollars, as the CLI counts them; None before the first result."""
        return self.results[-1].total_cost_usd if self.results else None

    @property
    def outcomes(self) -> list[str]:
        """What came of each action, in order."""
        return [f"{acted.action} {acted.status}" for acted in self.acted.values()]

    @property
    def spent(self) -> list[tuple[str, str]]:
        """What it took, in words: a name and a value each."""
        read, written = self.tokens
        cost = "unknown" if self.cost_usd is None else f"${self.cost_usd:.4f}"
        return [
            ("tool calls", str(self.tool_calls)),
            ("tokens", f"{read:,} in, {written:,} out"),
            ("cost", cost),
        ]
