"""`When`: the conditions of a reply, each a property of the request's context."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    model_validator,
)

from supervisor.testing.context import AgentKind, Call, Context, RequestKind, Result

__all__ = ["CallCondition", "Data", "ResultCondition", "When"]


class Data(BaseModel):
    """Base of everything people write in a scenario: unknown keys are faults."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _compiled(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError(f"a regular expression must be text, not {value!r}: put it in quotes")
    try:
        return re.compile(value, re.DOTALL)
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None


def _listed(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


def _counted(value: object) -> object:
    if isinstance(value, int) and not isinstance(value, bool):
        return {"at_least": value, "at_most": value}
    return value


Pattern = Annotated[re.Pattern[str], BeforeValidator(_compiled)]
Patterns = Annotated[tuple[Pattern, ...], BeforeValidator(_listed)]


class _Count(Data):
    at_least: NonNegativeInt | None = None
    """1 where neither bound is given, else 0."""
    at_most: NonNegativeInt | None = None

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least} is above at_most {self.at_most}")
        return self

    def admits(self, count: int) -> bool:
        """Whether that many is neither too few nor too many."""
        at_least = self.at_least
        if at_least is None:
            at_least = 1 if self.at_most is None else 0
        return count >= at_least and (self.at_most is None or count <= self.at_most)


class CallCondition(_Count):
    """How many tool calls of a kind are in the context."""

    tool: Pattern | None = None
    """Must match the tool's whole name."""
    input: Pattern | None = None
    """Is searched in the input's JSON: keys sorted, no spaces."""

    def holds(self, calls: Iterable[Call]) -> bool:
        """Whether the right number of `calls` fits."""
        return self.admits(sum(self._fits(call) for call in calls))

    def _fits(self, call: Call) -> bool:
        return _names(self.tool, call.tool) and _found(self.input, call.input)


class ResultCondition(_Count):
    """How many tool results of a kind are in the context."""

    tool: Pattern | None = None
    """Must match the tool's whole name."""
    text: Pattern | None = None
    error: bool | None = None

    def holds(self, results: Iterable[Result]) -> bool:
        """Whether the right number of `results` fits."""
        return self.admits(sum(self._fits(result) for result in results))

    def _fits(self, result: Result) -> bool:
        if self.error is not None and result.is_error != self.error:
            return False
        return _names(self.tool, result.tool) and _found(self.text, result.text)


def _names(pattern: re.Pattern[str] | None, name: str) -> bool:
    return pattern is None or pattern.fullmatch(name) is not None


def _found(pattern: re.Pattern[str] | None, text: str) -> bool:
    return pattern is None or pattern.search(text) is not None


def _all_found(patterns: Iterable[re.Pattern[str]], texts: tuple[str, ...]) -> bool:
    return all(any(_found(pattern, text) for text in texts) for pattern in patterns)


class When(Data):
    """Holds where all that is given holds. A list of patterns must all be found, each
    in some one text; `.` matches line ends too."""

    says: Patterns = ()
    """Found in a text of the conversation, whoever wrote it."""
    lacks: Patterns = ()
    """Found in no text of the conversation."""
    told: Patterns = ()
    """Found in a prompt or reminder: in what the model was told, not in tool results."""
    last: Patterns = ()
    """Found in what came after the model's last message, tool results among it."""
    calls: Annotated[
        tuple[Annotated[CallCondition, BeforeValidator(_counted)], ...], BeforeValidator(_listed)
    ] = ()
    """Of tool calls in the context; a bare number is an exact count of all of them."""
    results: Annotated[
        tuple[Annotated[ResultCondition, BeforeValidator(_counted)], ...], BeforeValidator(_listed)
    ] = ()
    """Of tool results in the context; a bare number as with `calls`."""
    characters: Annotated[_Count, BeforeValidator(_counted)] | None = None
    """Of the whole conversation: texts and calls' inputs."""
    model: Pattern | None = None
    """Must match the whole name of the model that is asked."""
    effort: Pattern | None = None
    """Must match the whole name of the effort that is asked for."""
    agent: AgentKind | None = None
    request: RequestKind | None = None
    """A reply that does not say is for ordinary requests."""
    any_of: tuple[When, ...] = Field(default=(), alias="any")
    """At least one of them holds; an empty list asks nothing."""
    none_of: When | None = Field(default=None, alias="not")
    """Does not hold as a whole."""

    def holds(self, context: Context) -> bool:
        """Whether the context has every property asked for."""
        return (
            self.agent in (None, context.agent)
            and self.request in (None, context.request)
            and _names(self.model, context.model)
            and _names(self.effort, context.effort)
            and (self.characters is None or self.characters.admits(context.characters))
            and self._texts_hold(context)
            and all(condition.holds(context.calls) for condition in self.calls)
            and all(condition.holds(context.results) for condition in self.results)
            and (not self.any_of or any(when.holds(context) for when in self.any_of))
            and (self.none_of is None or not self.none_of.holds(context))
        )

    def _texts_hold(self, context: Context) -> bool:
        return (
            _all_found(self.says, context.texts)
            and _all_found(self.told, context.told)
            and _all_found(self.last, context.last)
            and not any(_found(p, text) for p in self.lacks for text in context.texts)
        )
