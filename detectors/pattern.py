"""Patterns: what a policy's own regular expressions find, without any Python.

Off until a policy names checks. Each has a name, what it searches, an expression, and what
a match means:

```yaml
detectors:
  pattern:
    checks:
      - name: force push
        what: commands             # or calls, text, results
        expression: '\\bgit push\\b.*(--force|-f\\b)'
        failure_mode: drift        # the rules for it decide; drift if left out
        severity: critical         # info, warning or critical; warning if left out
        confidence: 1.0            # 0 to 1; 1 if left out
        message: Never force-push. Push a new branch.
```

It fires on every entry that matches, once for each check.

- *commands*: the `command` argument of a tool call, as `Bash` has it.
- *calls*: a tool's name, a space, and its arguments as JSON, as the transcript has them.
- *text*: what the agent writes, its thinking left out.
- *results*: what its tools return, errors included.

It does not catch what stands in the middle of a very long text: of more than 20,000
characters the first and the last 10,000 are searched, each for itself. An agent that means
to evade an expression can: a command may be written in many ways, or stand in a script that
it writes first. A check finds mistakes; to keep an agent from something, use permissions.

Expressions are RE2's (https://github.com/google/re2/wiki/Syntax): time linear in the text,
so that no text can stall the supervisor. There is no look-around and no back-reference;
`(?i)` ignores case, `(?m)` makes `^` and `$` match at lines, `(?s)` lets `.` match line ends.

Precision and recall are those of the expressions: test them with `lucid scan` on old
transcripts before a rule acts on them.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated

import msgspec
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from detectors._expressions import LONGEST, Expression, compiled, found
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Text, ToolCall, ToolResult, is_output
from supervisor.core.text import one_line, shown
from supervisor.core.verdict import (
    RUNTIME_MODES,
    Evidence,
    Fact,
    FailureMode,
    Severity,
    Verdict,
)

__all__ = ["Check", "Pattern", "PatternConfig", "What"]

_EXCERPT = 200
"""Characters of a match that a verdict quotes."""
_MOST_CHECKS = 64
"""Each is searched for in every entry of its kind."""


class What(StrEnum):
    """Where a check looks."""

    COMMANDS = "commands"
    CALLS = "calls"
    TEXT = "text"
    RESULTS = "results"


def _searchable(source: str) -> str:
    compiled(source)
    return source


def _an_agents_failure(mode: FailureMode) -> FailureMode:
    if mode in RUNTIME_MODES:
        raise ValueError(f"must be a failure of the agent's; {mode} is for the runtime to see")
    return mode


class Check(BaseModel):
    """One expression, where to look for it, and what it means."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, max_length=60)
    """Tells the check from others; a ladder's place is remembered under it."""
    what: What
    """Where it looks: `commands`, `calls`, `text` or `results`."""
    expression: Annotated[str, AfterValidator(_searchable)] = Field(
        min_length=1, max_length=LONGEST
    )
    """RE2's syntax; found anywhere in the text."""
    failure_mode: Annotated[FailureMode, AfterValidator(_an_agents_failure)] = FailureMode.DRIFT
    """What a match is; the policy's rules for it decide what is done."""
    severity: Severity = Severity.WARNING
    """How bad a match is if nothing is done."""
    confidence: float = Field(1.0, ge=0, le=1)
    """The share of matches that are right. Whoever writes a rule is taken to mean it."""
    message: str = Field("", max_length=300)
    """What to tell a person and the agent."""


def _named_apart(checks: tuple[Check, ...]) -> tuple[Check, ...]:
    names = [check.name for check in checks]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ValueError(f"two checks are called {shown(repeated[0])}; a name must be unique")
    return checks


class PatternConfig(DetectorConfig):
    """What to look for."""

    checks: Annotated[tuple[Check, ...], AfterValidator(_named_apart)] = Field(
        (), max_length=_MOST_CHECKS
    )
    """The checks, in any order; without them the detector finds nothing."""


class _Arguments(msgspec.Struct):
    command: str = ""


_arguments = msgspec.json.Decoder(_Arguments)


def _command(call: ToolCall) -> str:
    if b'"command"' not in memoryview(call.input).tobytes():
        return ""
    try:
        return _arguments.decode(call.input).command
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return ""  # another tool's idea of a command


def _call(call: ToolCall) -> bytes:
    return call.tool.encode(errors="replace") + b" " + bytes(call.input)


class Pattern(Detector):
    """Searches entries for the expressions that a policy names."""

    name = "pattern"
    failure_mode = FailureMode.DRIFT
    Config = PatternConfig
    config: PatternConfig

    def __init__(self, config: PatternConfig | None = None) -> None:
        super().__init__(config)
        self._checks: dict[What, list[tuple[Check, Expression]]] = {}
        for check in self.config.checks:
            self._checks.setdefault(check.what, []).append((check, compiled(check.expression)))

    @property
    def idle(self) -> bool:
        """Without a check, it searches for nothing."""
        return not self._checks

    @classmethod
    def failure_modes(cls) -> frozenset[FailureMode]:
        """Whatever a check names."""
        return frozenset(FailureMode) - RUNTIME_MODES

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Search the entry by each check of its kind, in time linear in its text, of which
        20,000 characters are looked at."""
        if not self._checks:
            return ()
        if isinstance(entry, ToolCall):
            commands = self._matches(What.COMMANDS, entry, _command(entry))
            return (*commands, *self._matches(What.CALLS, entry, _call(entry)))
        if isinstance(entry, ToolResult):
            return self._matches(What.RESULTS, entry, entry.text)
        if isinstance(entry, Text) and is_output(entry):
            return self._matches(What.TEXT, entry, entry.text)
        return ()

    def _matches(self, what: What, entry: Entry, text: str | bytes) -> tuple[Verdict, ...]:
        checks = self._checks.get(what, ()) if text else ()
        found_by = ((check, found(expression, text)) for check, expression in checks)
        return tuple(_verdict(check, entry, hit) for check, hit in found_by if hit is not None)


def _verdict(check: Check, entry: Entry, match: str) -> Verdict:
    facts: dict[str, Fact] = {"check": check.name, "matched": one_line(match, _EXCERPT)}
    if check.message:
        facts["message"] = check.message
    said = check.message or f"Its {check.what.value} match the check {shown(check.name)}."
    return Verdict(
        session_id=entry.session_id,
        transcript=entry.transcript,
        agent_id=entry.agent_id,
        seq=entry.seq,
        onset_seq=entry.seq,
        detector=Pattern.name,
        failure_mode=check.failure_mode,
        severity=check.severity,
        confidence=check.confidence,
        summary=one_line(said, 400),
        evidence=Evidence(entries=(entry.seq,), facts=facts),
        key=check.name,
    )
