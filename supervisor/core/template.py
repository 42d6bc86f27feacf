"""What recovery actions say to an agent, as templates.

A policy's `message` is a Jinja2 template, rendered in a sandbox that reaches nothing but
the values below. These hold transcript text only in quotes, bounded (`feedback.quote`);
it is never a template itself. Templates are compiled when the policy is loaded, so what
can be known to be wrong is a fault of the policy. What fails only when it is rendered is
reported, and the built-in text takes its place: an agent is not left without help.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Protocol

from jinja2 import StrictUndefined, TemplateError, meta
from jinja2 import Template as Compiled
from jinja2.exceptions import SecurityError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from pydantic import AfterValidator

from supervisor.core.decision import Decision
from supervisor.core.digest import Digest, told
from supervisor.core.feedback import (
    addressed,
    evidence_lines,
    failure_named,
    feedback,
    quote,
    told_value,
    way_out,
)

__all__ = ["VARIABLES", "Message", "Storied", "phrased", "spoken"]

VARIABLES: Mapping[str, str] = {
    "feedback": "Lucid's own words: the failure, its evidence and the way out",
    "failure": "the failure in a few words",
    "failure_mode": "its name, such as `loop`",
    "evidence": "what was measured, a line each",
    "facts": "the same by name, such as `facts.tool`",
    "summary": "the verdict in one sentence",
    "way_out": "what an agent that failed so can do",
    "objective": "the user's first prompt",
    "asked_since": "a list of what the user asked later",
    "done": "a list of the finished calls that may have changed something",
    "todos": "a list of the open items of the agent's own list",
    "tried": "a list of the calls since the failure began",
    "attempt": "how often in a row this rung is taken, with this time",
}
"""What a policy's message may use, and what it is."""

_LONGEST_SOURCE = 8_000
_LONGEST_TEXT = 16_000
"""Characters that a message may come to. More is no message but a flood."""
_OBJECTIVE = 2_000
_LISTED = 20
_TRIED = 5


class Storied(Protocol):
    """What templates need of an agent."""

    def digest(self) -> Digest:
        """What it was asked, has done and has tried."""

    def report(self, source: str, problem: str) -> None:
        """Make a fault on Lucid's side known."""


class _Sandbox(ImmutableSandboxedEnvironment):
    # "x" * 10**9 would take a process down.
    intercepted_binops = frozenset({"*", "**"})

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        raise SecurityError(f"the operator {operator} is not to be had in a message")


@cache
def _sandbox() -> _Sandbox:
    environment = _Sandbox(undefined=StrictUndefined, autoescape=False, trim_blocks=True)
    environment.globals.clear()
    for name in ("center", "format", "indent", "wordwrap", "xmlattr"):
        environment.filters.pop(name, None)  # they make long texts of short ones
    return environment


@cache
def _compiled(source: str) -> Compiled:
    return _sandbox().from_string(source)


def _checked(source: str) -> str:
    if len(source) > _LONGEST_SOURCE:
        raise ValueError(f"must be at most {_LONGEST_SOURCE} characters, not {len(source)}")
    try:
        _compiled(source)
        used = meta.find_undeclared_variables(_sandbox().parse(source))
    except TemplateError as error:
        line = getattr(error, "lineno", None)
        at = f" in its line {line}" if line and "\n" in source else ""
        raise ValueError(f"not a template{at}: {error.message}") from None
    if strays := sorted(used - VARIABLES.keys()):
        named = ", ".join(map(repr, strays))
        raise ValueError(f"a message cannot use {named}; it has {', '.join(VARIABLES)}")
    return source


Message = Annotated[str, AfterValidator(_checked)]
"""Text that a policy's author wrote to say to an agent."""


def spoken(decision: Decision, agent: Storied, frame: str, message: str | None = None) -> str:
    """An action's prompt, marked as Lucid's: see `phrased`."""
    return addressed(phrased(decision, agent, frame, message))


def phrased(decision: Decision, agent: Storied, frame: str, message: str | None = None) -> str:
    """The action's own `frame`, a template in which `message` stands for the policy's text
    or, without one, or where it fails, for the built-in description of the failure."""
    values = _Values(decision, agent)
    said = feedback(decision.verdict)
    if message is not None:
        try:
            said = _rendered(message, values)
        except Exception as error:  # noqa: BLE001 - a template may raise anything
            problem = f"the message of {decision.action!r} in the rule {decision.rule!r} failed"
            agent.report("template", f"{problem}, and the built-in one was used: {error}")
    return _rendered(frame, values, message=said)


def _rendered(source: str, values: _Values, **more: str) -> str:
    template = _compiled(source)
    used = meta.find_undeclared_variables(_sandbox().parse(source)) - more.keys()
    pieces: list[str] = []
    length = 0
    for piece in template.generate({name: values[name] for name in used} | more):
        pieces.append(piece)
        length += len(piece)
        if length > _LONGEST_TEXT:
            raise ValueError(f"it comes to more than {_LONGEST_TEXT} characters")
    text = "".join(pieces).strip()
    if not text:
        raise ValueError("it comes to nothing")
    return text


class _Values:
    """What a template may use, made as it is asked for: most use little of it."""

    def __init__(self, decision: Decision, agent: Storied) -> None:
        self._decision = decision
        self._agent = agent

    def __getitem__(self, name: str) -> object:
        verdict = self._decision.verdict
        match name:
            case "feedback":
                return feedback(verdict)
            case "failure":
                return failure_named(verdict)
            case "failure_mode":
                return str(verdict.failure_mode)
            case "evidence":
                return "\n".join(evidence_lines(verdict))
            case "facts":
                return {key: told_value(value) for key, value in verdict.evidence.facts.items()}
            case "summary":
                return quote(verdict.summary, 300)
            case "way_out":
                return way_out(verdict)
            case "attempt":
                return self._decision.attempt
        return self._of_the_story(name)

    def _of_the_story(self, name: str) -> object:
        digest, verdict = self._agent.digest(), self._decision.verdict
        match name:
            case "objective":
                return quote(digest.objective, _OBJECTIVE) if digest.objective else ""
            case "asked_since":
                return [quote(text, _OBJECTIVE) for text in digest.asked_since]
            case "done":
                return list(told(digest.done, _LISTED))
            case "todos":
                return [quote(todo) for todo in digest.todos]
            case "tried":
                return list(told(digest.since(verdict.onset_seq, verdict.agent_id), _TRIED))
        raise KeyError(name)
