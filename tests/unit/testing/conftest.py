"""A conversation that grows as an agent's would, without an agent."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor.testing import Context, Reply, Scenario
from supervisor.testing.request import decode

Tool = Callable[[str, dict[str, object]], str]


class Conversation:
    """Messages as a client would send them; `tool` says what a call returns."""

    def __init__(self, scenario: Scenario, tool: Tool) -> None:
        self.scenario = scenario
        self.tool = tool
        self.messages: list[dict[str, object]] = []
        self.calls = 0

    def prompt(self, text: str) -> None:
        self.messages.append({"role": "user", "content": text})

    def reminder(self, text: str) -> None:
        content = f"<system-reminder>\n{text}\n</system-reminder>"
        self.messages.append({"role": "system", "content": content})

    def cut_after(self, calls: int) -> None:
        """Keep the messages up to the result of that many calls, as a rollback does."""
        results = [i for i, m in enumerate(self.messages) if isinstance(m["content"], list)]
        self.messages = self.messages[: results[2 * calls - 1] + 1]

    def play(self, steps: int) -> list[str]:
        """Let the model answer that often, or until its turn ends; names of its replies."""
        names: list[str] = []
        while len(names) < steps:
            reply = self.scenario.reply_to(self.context())
            assert reply is not None, "the scenario has no reply"
            names.append(reply.name)
            self._add(reply)
            if not reply.calls:
                break
        return names

    def context(self) -> Context:
        return Context.of(decode(json.dumps({"model": "m", "messages": self.messages}).encode()))

    def _add(self, reply: Reply) -> None:
        if not reply.calls:
            self.messages.append({"role": "assistant", "content": reply.text})
            return
        uses, results = [], []
        for call in reply.calls:
            self.calls += 1
            key = f"call{self.calls}"
            text = self.tool(call.tool, dict(call.input))
            uses.append({"type": "tool_use", "id": key, "name": call.tool, "input": call.input})
            results.append({"type": "tool_result", "tool_use_id": key, "content": text})
        self.messages.append({"role": "assistant", "content": uses})
        self.messages.append({"role": "user", "content": results})


@pytest.fixture
def scenarios(fixtures: Path) -> Path:
    """The folder of scenario files."""
    return fixtures / "scenarios"


@pytest.fixture
def converse() -> Callable[[Scenario, Tool], Conversation]:
    """Begins a conversation."""
    return Conversation
