"""The steps of a normalised trace as the entries that a live session would have had.

What the sources lack is filled in as follows.

- The tool listing stands before the first step, where there is one; so does the objective
  as the user's prompt, where no step holds a prompt before the agent's first.
- A call is answered by the next tool step of its agent and tool, or by what the user's
  side says right after it. One whose result the source left out is answered with nothing.
- A tool step without a call had one that was not recorded: its arguments are the tool
  step's own, or else the code blocks of the text before it.
- An agent that is given prompts of its own is a subagent; where several names speak in
  one conversation without, they are one agent.
- System prompts, and what an environment says as if it were the user, are `META`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TypedDict

import msgspec

from supervisor.core.entry import Entry, Notice, Origin, Prompt, Text, ToolCall, ToolResult, Usage

__all__ = ["Step", "batches"]

_ABSENT = msgspec.Raw(b"null")
_FENCED = re.compile(r"```[\w+-]*\n(.*?)```", re.DOTALL)
_CODE = 16_384
"""Characters of a text that are searched for code blocks."""
_ENVIRONMENT = re.compile(
    r"\s*(?:```\s*)?(?:EXECUTION RESULT of \[|API output:|OBSERVATION:|ENVIRONMENT REMINDER)"
)
"""How environments begin that answer in the user's place."""


class Step(msgspec.Struct):
    """A step as the corpora write it."""

    role: str
    text: str | None = None
    agent: str | None = None
    tool: str | None = None
    input: msgspec.Raw = _ABSENT
    is_error: bool | None = None
    ts: str | None = None
    model: str | None = None
    tokens: list[int | str | None] | None = None
    obs: bool = False


class _Place(TypedDict):
    session_id: str
    transcript: str
    seq: int
    agent_id: str | None
    at: datetime | None
    turn: int


def batches(
    trace_id: str,
    steps: Sequence[Step],
    tools: Sequence[str] | None,
    objective: str | None,
) -> Iterator[tuple[Entry, ...]]:
    """The entries of each step, together."""
    yield from _Reading(trace_id, steps, tools, objective).batches()


class _Reading:
    def __init__(
        self,
        trace_id: str,
        steps: Sequence[Step],
        tools: Sequence[str] | None,
        objective: str | None,
    ) -> None:
        self._id = trace_id
        self._steps = steps
        self._tools = tuple(tools or ())
        self._objective = objective
        self._person = next((step.agent for step in steps if step.role == "user"), None)
        self._subagents = _subagents(steps, self._person)
        self._answers = _answers(steps)
        self._calls = {answer: call for call, answer in self._answers.items()}
        self._turns: dict[str | None, int] = {}
        self._at: datetime | None = None
        self._said = ""

    def batches(self) -> Iterator[tuple[Entry, ...]]:
        for index, step in enumerate(self._steps):
            entries = [*self._opening(index), *self._entries(index, step)]
            yield tuple(
                msgspec.structs.replace(entry, part=part) if part != entry.part else entry
                for part, entry in enumerate(entries)
            )

    def _opening(self, index: int) -> Iterator[Entry]:
        if index:
            return
        if self._tools:
            yield Notice(**self._place(0, None), type="system/init", tools_added=self._tools)
        if self._objective and not _prompted(self._steps):
            self._turns[None] = 1
            yield Prompt(**self._place(0, None), text=self._objective)

    def _entries(self, index: int, step: Step) -> Iterator[Entry]:
        match step.role:
            case "assistant":
                yield from self._output(index, step)
            case "tool":
                yield from self._result(index, step)
            case "user" if index in self._calls:
                yield from self._result(index, step)
            case "user":
                yield self._prompt(index, step)
            case _:
                place = self._place(index, step)
                yield Prompt(**place, text=step.text or "", origin=Origin.META)

    def _place(self, index: int, step: Step | None) -> _Place:
        agent_id = step.agent if step is not None and step.agent in self._subagents else None
        self._at = _later(self._at, step.ts if step is not None else None)
        return _Place(
            session_id=self._id,
            transcript=self._id,
            seq=index + 1,
            agent_id=agent_id,
            at=self._at,
            turn=self._turns.get(agent_id, 0),
        )

    def _prompt(self, index: int, step: Step) -> Prompt:
        origin = self._origin(step)
        if origin is not Origin.META:
            agent = step.agent if step.agent in self._subagents else None
            self._turns[agent] = self._turns.get(agent, 0) + 1
        return Prompt(**self._place(index, step), text=step.text or "", origin=origin)

    def _origin(self, step: Step) -> Origin:
        if step.agent in self._subagents:
            return Origin.AGENT
        if step.agent != self._person or step.obs or _ENVIRONMENT.match(step.text or ""):
            return Origin.META
        return Origin.USER

    def _output(self, index: int, step: Step) -> Iterator[Entry]:
        place, message, usage = self._place(index, step), f"m{index}", _usage(step)
        self._said = step.text or ""
        if step.text:
            yield Text(**place, text=step.text, message_id=message, model=step.model, usage=usage)
        if step.tool:
            yield ToolCall(
                **place,
                call_id=f"c{index}",
                tool=step.tool,
                input=_input(step),
                message_id=message,
                model=step.model,
                usage=usage,
            )
            if index not in self._answers and index + 1 < len(self._steps):
                yield ToolResult(**place, call_id=f"c{index}")
        elif not step.text:
            yield Notice(**place, type="assistant")

    def _result(self, index: int, step: Step) -> Iterator[Entry]:
        place, call = self._place(index, step), self._calls.get(index)
        if call is None:
            call = index
            yield ToolCall(
                **place,
                call_id=f"c{index}",
                tool=step.tool or "tool",
                input=_input(step) if step.input != _ABSENT else _code(self._said),
            )
        yield ToolResult(
            **place, call_id=f"c{call}", text=step.text or "", is_error=bool(step.is_error)
        )


def _speakers(steps: Sequence[Step]) -> frozenset[str | None]:
    return frozenset(step.agent for step in steps if step.role == "assistant")


def _subagents(steps: Sequence[Step], main: str | None) -> frozenset[str | None]:
    prompted = {step.agent for step in steps if step.role == "user"}
    return frozenset((prompted & _speakers(steps)) - {None, main})


def _prompted(steps: Sequence[Step]) -> bool:
    """Whether a prompt stands before the agent's first step."""
    first = next((step.role for step in steps if step.role != "system"), None)
    return first == "user"


def _answers(steps: Sequence[Step]) -> dict[int, int]:
    """Which step answers which call."""
    answers: dict[int, int] = {}
    speakers = _speakers(steps)
    pending: list[int] = []
    for index, step in enumerate(steps):
        if step.role == "assistant":
            # A call that its agent goes on after stays without an answer.
            pending = [call for call in pending if steps[call].agent != step.agent]
            pending += [index] if step.tool else []
            continue
        for call in reversed(pending):
            if _may_answer(index, step, call, steps[call], speakers):
                answers[call] = index
                pending.remove(call)
                break
    return answers


def _may_answer(
    index: int, step: Step, call: int, asked: Step, speakers: frozenset[str | None]
) -> bool:
    at_once = call == index - 1
    if step.role == "tool":
        ours = step.agent == asked.agent or step.agent not in speakers
        return ours and (step.tool == asked.tool or (step.tool is None and at_once))
    stranger = step.agent is None or step.agent not in speakers
    return step.role == "user" and at_once and stranger and not step.obs


def _input(step: Step) -> msgspec.Raw:
    return step.input if bytes(memoryview(step.input)[:1]) == b"{" else msgspec.Raw(b"{}")


def _code(text: str) -> msgspec.Raw:
    blocks = _FENCED.findall(text[:_CODE])
    return msgspec.Raw(msgspec.json.encode({"code": "\n".join(blocks) or text[:_CODE]}))


def _usage(step: Step) -> Usage | None:
    if not step.tokens:
        return None
    read, written = (_count(value) for value in (*step.tokens, None, None)[:2])
    return Usage(input_tokens=read, output_tokens=written)


def _count(value: int | str | None) -> int:
    if isinstance(value, int):
        return value
    return int(value) if value and value.isdecimal() else 0


def _later(before: datetime | None, text: str | None) -> datetime | None:
    """Spans are stamped with their begin, so that a result can be older than its call:
    time never runs back here."""
    if not text:
        return before
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return before
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return at if before is None or at > before else before
