"""Tests of policies as people write them: `NAME.test.yaml`, checked as policies are.

A test is a stream of verdicts on a timeline, with what came of the actions in between, or a
transcript; and the decisions that are expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from supervisor.core.action import Capability
from supervisor.core.decision import Choice
from supervisor.core.duration import parse_duration
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.verdict import FailureMode, Severity
from supervisor.errors import PolicyError
from supervisor.policy.document import Document, read_document
from supervisor.policy.faults import fault, place_of, refused
from supervisor.policy.include import read_text
from supervisor.policy.parts import Part
from supervisor.policy.reach import RunMode

__all__ = ["Case", "CaseFile", "Expected", "Found", "Step", "read_cases"]


def _read_offset(value: object) -> object:
    """A time since the start; `0s` is none, which a duration cannot be."""
    return timedelta() if value in ("0s", "0m") else parse_duration(value)


Offset = Annotated[timedelta, BeforeValidator(_read_offset)]


class Found(Part):
    """A verdict as a test writes it."""

    mode: FailureMode
    confidence: float = Field(default=0.9, strict=True, ge=0, le=1)
    severity: Severity = Severity.WARNING
    detector: str | None = None
    """None: one of the failure mode's name."""
    agent: str | None = None
    """A subagent's id; None for the main agent."""
    agent_type: str | None = None
    key: str = "k"
    """What fails; another key is another failure."""


def _read_expected(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value in list(Choice):
        return {"choice": value}
    return {"choice": Choice.ACT, "action": value}


class Expected(Part):
    """What a decision is to be; what is left out may be anything."""

    choice: Choice | None = None
    action: str | None = None
    rule: str | None = None
    rung: int | None = Field(default=None, strict=True, ge=1)
    """From 1."""
    attempt: int | None = Field(default=None, strict=True, ge=1)
    limit: str | None = None
    params: Mapping[str, Any] = Field(default_factory=dict)
    """Some of its parameters."""
    reason: str | None = None
    """A part of it."""
    entry: int | None = Field(default=None, strict=True, ge=1)


ExpectedSource = Annotated[Expected, BeforeValidator(_read_expected)]


class Step(Part):
    """A verdict and the decision expected on it, or what came of the last action."""

    at: Offset | None = None
    """Since the test's start; left out: as the step before."""
    entry: int | None = Field(default=None, strict=True, ge=1)
    """The verdict's entry; left out: ten after the one before."""
    verdict: Annotated[Found | None, BeforeValidator(lambda v: _mode_alone(v))] = None
    outcome: OutcomeStatus | None = None
    cost_usd: float | None = Field(default=None, strict=True, ge=0)
    """What the session has cost by now."""
    tokens: int | None = Field(default=None, strict=True, ge=0)
    expect: ExpectedSource | None = None

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if (self.verdict is None) == (self.outcome is None):
            raise refused(fault("must have either a 'verdict' or an 'outcome'"))
        if self.verdict is not None and self.expect is None:
            raise refused(fault("is missing", ("expect",), "missing"))
        return self


def _mode_alone(value: object) -> object:
    return {"mode": value} if isinstance(value, str) else value


class Case(Part):
    """One test: a fresh session under the policy."""

    name: str = Field(strict=True, min_length=1, max_length=200)
    start: datetime = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
    labels: Mapping[str, str] = Field(default_factory=dict)
    run_mode: RunMode = RunMode.WRAPPER
    can: tuple[Capability, ...] | None = None
    """What the runtime can do; left out: all that it can in this mode."""
    steps: tuple[Step, ...] = ()
    transcript: str | None = None
    """A file of lines, from the test's folder."""
    expect: tuple[ExpectedSource, ...] | None = None
    """What is to be done in the transcript, decision by decision."""

    @field_validator("start")
    @classmethod
    def _start_has_a_zone(cls, value: datetime) -> datetime:
        if value.tzinfo is None:
            raise ValueError("must say its time zone, such as 2026-01-05T12:00:00Z")
        return value

    @model_validator(mode="after")
    def _is_one_thing(self) -> Self:
        if bool(self.steps) == (self.transcript is not None):
            raise refused(fault("must have either 'steps' or a 'transcript'"))
        if (self.transcript is None) != (self.expect is None):
            raise refused(fault("'transcript' and 'expect' go together"))
        return self


class _Tests(Part):
    policy: str | None = None
    tests: tuple[Case, ...] = Field(min_length=1)


class CaseFile:
    """The tests of one file, and where each part stands."""

    def __init__(self, path: Path, document: Document, tests: _Tests) -> None:
        self.path = path
        self.cases = tests.tests
        self.policy = self._policy(tests.policy)
        self._document = document

    def place(self, case: int, step: int | None = None) -> str:
        """`file:line:column` of a test or of one of its steps."""
        part = () if step is None else ("steps" if self.cases[case].steps else "expect", step)
        problem = self._document.problem(("tests", case, *part), "value", "")
        return f"{problem.file}:{problem.line}:{problem.column}"

    def _policy(self, named: str | None) -> Path | str:
        """The policy that is tested: as named, else the one that the file is named for."""
        if named is None:
            return self.path.with_name(self.path.name.replace(".test.", "."))
        return self.path.parent / named if "/" in named or Path(named).suffix else named


def read_cases(path: Path) -> CaseFile:
    """Read a test file. Raises `PolicyError` with every fault."""
    document = read_document(read_text(path), str(path))
    problems = list(document.problems)
    tests = None
    try:
        tests = _Tests.model_validate(document.data)
    except ValidationError as error:
        problems += [
            document.problem(one["loc"], place_of(one), one["ctx"]["reason"])
            for one in error.errors(include_url=False)
        ]
    if tests is None or problems:
        raise PolicyError(sorted(problems, key=lambda one: (one.line, one.column)))
    return CaseFile(path, document, tests)
