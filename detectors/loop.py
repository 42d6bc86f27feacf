"""Loops: the agent does again what it has done, and learns again what it knew.

A step is a tool call together with its result, both stripped of what changes by itself
(key order, white space, timestamps, durations, ids). The call *repeats* where its result
equals that of its last run; any other step is *news*, and news that shows the world
moving (a write, a known call that answers differently) is a *change*. It is a loop when

- a call ran `repeats` times with no news in between, or
- it ran `interleaved_repeats` times (`repeats` times if it fails) with news but no
  change in between, or
- a round of 2 to `longest_cycle` steps ran `repeats` times, step for step.

So polling, batches, edit-test-edit and a re-read after a write are quiet: each brings
news or a change. What the user types starts the count anew; a compaction or a nudge
does not.

The confidence begins at 0.8 and halves its distance to 1 with each further repetition.
On the development half of the corpora, one instance an agent, it catches 85 of MIRAGE's
93 loops (a call whose result the source left out counts as answered with nothing) and
43 of the 55 loop cases with tool calls. It fires in 0 of 184 solved mini-SWE runs, 0 of
46 solved tau-bench runs, 0 of the 43 healthy loop cases with tool calls, and 1 of 153
Claude Code transcripts: `npm run build`, failing the same way four times on end.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b

import msgspec
from pydantic import Field

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Origin, Prompt, ToolCall, ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict

__all__ = ["Loop", "LoopConfig"]

_OPEN_CALLS = 32
"""Calls awaiting a result; more of them at once than a model asks for in one message."""
_CALLS = 96
"""Calls remembered, the least recently seen dropped first; bounds memory."""
_RECENT = 32
"""Steps remembered in order: two rounds of the longest cycle a policy may ask for."""
_EXCERPT = 200
"""Bytes of arguments and characters of a result that a verdict quotes."""
_LONGEST_NAME = 128
"""Characters; the Messages API refuses longer tool names."""
_EVIDENCE = 8
"""Entries that a verdict points at."""
_PRECISE_INPUT = 16_384
"""Bytes of arguments up to which they are normalised; longer ones compare as written."""
_PRECISE_RESULT = 2_048
"""Characters at either end of a result that are read closely; summaries stand there."""

_VOLATILE = re.compile(
    r"""
    [0-9] (?:
        (?<! [0-9A-Za-z_.][0-9] ) (?:
            [0-9]{3}-[0-9]{2}-[0-9]{2} (?: [T ][0-9:.,]+ (?: Z | [+-][0-9:]+ )? )?
          | [0-9]* (?: :[0-9]{2} ){1,2} (?: [.,][0-9]+ )? \b
          | [0-9]* (?: \.[0-9]+ )? [ ]? (?: [nuµm]?s | secs? | seconds? | mins? | minutes? ) \b
          | x[0-9a-fA-F]+ \b
        )
      | (?: (?<= [Ii][Dd][=:][0-9] ) | (?<= [Ii][Dd]:[ ][0-9] ) | (?<= [Pp][Ii][Dd][ ][0-9] )
          | (?<= bash_[0-9] ) | (?<= toolu_[0-9] ) | (?<= [Aa]ttempt[ ][0-9] )
          | (?<= [Rr]etry[ ][0-9] )
        ) \w*
    )
    """,
    re.VERBOSE,
)
"""Timestamps, durations, addresses, ids and counts of attempts. Each begins with its
digit, context looked up behind it: a search for that is ten times as fast."""
_UUID_TAIL = re.compile(r"(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UUID = re.compile(r"[0-9a-fA-F]{8}" + _UUID_TAIL.pattern)

_DIGITS = b"0123456789"

_WRITERS = re.compile(
    r"(?:^|_)(?:\w*edit|write|create|update|delete|insert|replace|patch|append|save|move|rename"
    r"|remove|add|set|task|agent)(?:_|$)",
    re.IGNORECASE,
)
"""Names of tools that change something, or have a subagent do so."""

_READ_ONLY = re.compile(
    r"\s*(?:$|(?:cat|cd|cut|date|diff|du|echo|env|fd|file|find|grep|head|jq|less|ls|nl|ps|pwd"
    r"|rg|sleep|sort|stat|tail|tr|tree|true|type|uniq|wc|which)\b"
    r"|sed\s+-n\b|git\s+(?:diff|log|show|status|blame|branch|grep|ls-files|rev-parse)\b)"
)
"""Shell commands that only look. Every other one may have changed something."""
_SEPARATOR = re.compile(r"\|\||&&|[|;\n]")
_WRITES_ANYWAY = re.compile(r">(?<![0-9&<=-]>)(?!>?\s*/dev/null|&)|-(?:delete|exec)\b")

_WAITING_TOOLS = frozenset({"BashOutput", "Monitor", "TaskOutput"})
_WAITING_COMMAND = re.compile(r"\b(?:sleep|wait|watch)\b")


class LoopConfig(DetectorConfig):
    """How much repetition is a loop."""

    repeats: int = Field(3, ge=2)
    """Runs of one call, or rounds of one cycle, with nothing new in between. Twice is a
    second look: it would flag 4 of 230 solved runs. At 4, 18 more MIRAGE loops pass."""
    interleaved_repeats: int = Field(5, ge=2)
    """Runs of one successful call between which the agent learnt something and changed
    nothing. At 4 it flags a healthy loop case that alternates between two files."""
    waiting_repeats: int = Field(6, ge=2)
    """Runs of one call that waits for something else, twice `repeats`: there, an answer
    that has not changed yet is no failure. A guess: no corpus holds such a case."""
    longest_cycle: int = Field(8, ge=2, le=16)
    """Steps in the longest round looked for. At 4, two MIRAGE loops pass; at 16 no more
    are caught. Each costs one comparison a step."""


@dataclass(slots=True, frozen=True)
class _Call:
    """A tool call without what varies from run to run."""

    digest: bytes
    seq: int
    tool: str
    arguments: bytes
    """Their start, as UTF-8 JSON."""
    changes: bool
    waits: bool

    @property
    def label(self) -> str:
        return f"{self.tool} {self.arguments.decode(errors='ignore')}"


@dataclass(slots=True, frozen=True)
class _Step:
    """A call and what came back."""

    call: _Call
    result: bytes
    seq: int
    is_error: bool

    def same_as(self, other: _Step) -> bool:
        return self.call.digest == other.call.digest and self.result == other.result


@dataclass(slots=True)
class _Streak:
    """Runs of a call in a row, by one notion of what breaks the row."""

    runs: int = 1
    onset_seq: int = 0
    """The call of the second run: the first one that was needless."""

    def add(self, step: _Step, unbroken: bool) -> None:
        self.runs = self.runs + 1 if unbroken else 1
        if self.runs == 2:
            self.onset_seq = step.call.seq


@dataclass(slots=True)
class _Past:
    """What is known of a call: its last answer and how often that came back."""

    result: bytes
    at: int
    without_news: _Streak = field(default_factory=_Streak)
    without_change: _Streak = field(default_factory=_Streak)


@dataclass(slots=True)
class _Cycle:
    """A period, and how many steps in a row equalled the step one period earlier."""

    length: int
    matches: int = 0
    onset_seq: int = 0

    def add(self, step: _Step, recent: Sequence[_Step]) -> None:
        if len(recent) < self.length or not step.same_as(recent[-self.length]):
            self.matches = 0
            return
        self.matches += 1
        if self.matches == 1:
            self.onset_seq = step.call.seq

    @property
    def rounds(self) -> int:
        return self.matches // self.length + 1


@dataclass(slots=True, frozen=True)
class _Finding:
    """A loop as found, before it is put into words."""

    steps: tuple[_Step, ...]
    """One round."""
    repetitions: int
    needed: int
    onset_seq: int
    between: str


class Loop(Detector):
    """Finds calls and rounds of calls that repeat with the same results."""

    name = "loop"
    failure_mode = FailureMode.LOOP
    Config = LoopConfig
    config: LoopConfig

    def __init__(self, config: LoopConfig | None = None) -> None:
        super().__init__(config)
        self._open: dict[str, _Call] = {}
        self._forget()

    def _forget(self) -> None:
        self._past: dict[bytes, _Past] = {}
        self._recent: deque[_Step] = deque(maxlen=_RECENT)
        self._cycles = [_Cycle(length) for length in range(1, self.config.longest_cycle + 1)]
        self._count = 0
        self._news_at = 0
        self._changed_at = 0

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        """Pair calls with results; judge each step as it completes, in constant time."""
        if isinstance(entry, ToolCall):
            self._begin(entry)
        elif isinstance(entry, ToolResult):
            return self._complete(entry)
        elif isinstance(entry, Prompt) and entry.origin is Origin.USER:
            self._forget()
        return ()

    def _begin(self, entry: ToolCall) -> None:
        if len(self._open) >= _OPEN_CALLS:
            del self._open[next(iter(self._open))]
        self._open[entry.call_id] = _call(entry)

    def _complete(self, entry: ToolResult) -> Iterable[Verdict]:
        call = self._open.pop(entry.call_id, None)
        if call is None:
            return ()
        step = _Step(call, _fingerprint(entry), entry.seq, entry.is_error)
        self._count += 1
        past = self._remember(step)
        for cycle in self._cycles:
            cycle.add(step, self._recent)
        self._recent.append(step)
        current = self._current_cycle()
        found = self._repetition(step, past) if current is None else self._round(current)
        return () if found is None else (self._verdict(entry, found),)

    def _remember(self, step: _Step) -> _Past:
        known = self._past.pop(step.call.digest, None)
        if known is not None and known.result == step.result:
            known.without_news.add(step, unbroken=known.at >= self._news_at)
            known.without_change.add(step, unbroken=known.at >= self._changed_at)
            known.at = self._count
            self._past[step.call.digest] = known
            return known
        if known is not None or (step.call.changes and not step.is_error):
            self._changed_at = self._count
        self._news_at = self._count
        past = self._past[step.call.digest] = _Past(step.result, self._count)
        if len(self._past) > _CALLS:
            del self._past[next(iter(self._past))]
        return past

    def _current_cycle(self) -> _Cycle | None:
        """The shortest period whose second round is complete, unless one call just runs on."""
        if self._cycles[0].matches >= 2:
            return None
        return next((c for c in self._cycles[1:] if c.matches >= c.length), None)

    def _round(self, cycle: _Cycle) -> _Finding | None:
        steps = tuple(self._recent)[-cycle.length :]
        waits = any(step.call.waits for step in steps)
        needed = self.config.waiting_repeats if waits else self.config.repeats
        if cycle.rounds < needed or cycle.matches % cycle.length:
            return None
        return _Finding(steps, cycle.rounds, needed, cycle.onset_seq, "nothing else")

    def _repetition(self, step: _Step, past: _Past) -> _Finding | None:
        needed = self.config.waiting_repeats if step.call.waits else self.config.repeats
        streak, between = past.without_news, "nothing new"
        if streak.runs < needed:
            streak, between = past.without_change, "nothing changed"
            if not step.is_error:
                needed = max(needed, self.config.interleaved_repeats)
        if streak.runs < needed:
            return None
        return _Finding((step,), streak.runs, needed, streak.onset_seq, between)

    def _verdict(self, entry: ToolResult, found: _Finding) -> Verdict:
        beyond = found.repetitions - found.needed
        return Verdict(
            session_id=entry.session_id,
            transcript=entry.transcript,
            agent_id=entry.agent_id,
            seq=entry.seq,
            onset_seq=found.onset_seq,
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.CRITICAL if beyond >= found.needed else Severity.WARNING,
            confidence=round(1 - 0.2 * 0.5 ** min(beyond, 10), 4),
            summary=_summary(found),
            evidence=Evidence(entries=self._evidence(found), facts=_facts(found, entry)),
            key=_key([step.call.digest for step in found.steps]),
        )

    def _evidence(self, found: _Finding) -> tuple[int, ...]:
        steps = (s for s in self._recent if any(s.same_as(step) for step in found.steps))
        seqs = {seq for step in steps for seq in (step.call.seq, step.seq)}
        return tuple(sorted(seqs)[-_EVIDENCE:])


def _call(entry: ToolCall) -> _Call:
    arguments, command = _arguments(entry.input)
    name = entry.tool.encode(errors="replace")
    return _Call(
        digest=_hash(name, b"\0", arguments),
        seq=entry.seq,
        tool=entry.tool[:_LONGEST_NAME],
        arguments=arguments[:_EXCERPT],
        changes=_may_change(entry.tool, command),
        waits=entry.tool in _WAITING_TOOLS or bool(command and _WAITING_COMMAND.search(command)),
    )


def _arguments(raw: msgspec.Raw) -> tuple[bytes, str | None]:
    """The arguments in one spelling, and the shell command among them.

    `description` beside a command or a prompt says why, not what: it is left out.
    """
    if len(memoryview(raw)) > _PRECISE_INPUT:
        return bytes(raw), None
    try:
        value = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError):
        return bytes(raw), None
    if not isinstance(value, dict):
        return bytes(raw), None
    if "command" in value or "prompt" in value:
        value.pop("description", None)
    tidy = {name: _tidy(item) for name, item in value.items()}
    command = tidy.get("command")
    return (
        msgspec.json.encode(tidy, order="deterministic"),
        command if isinstance(command, str) else None,
    )


def _tidy(value: object) -> object:
    """A string without needless white space; within several lines it may carry meaning."""
    if not isinstance(value, str):
        return value
    return value.strip() if "\n" in value else " ".join(value.split())


def _may_change(tool: str, command: str | None) -> bool:
    if command is None:
        return bool(_WRITERS.search(tool))
    if _WRITES_ANYWAY.search(command):
        return True
    return not all(_READ_ONLY.match(part) for part in _SEPARATOR.split(command))


def _fingerprint(entry: ToolResult) -> bytes:
    """A hash of a result without what changes by itself.

    In the middle of a long one only digits are left out, which costs next to nothing.
    """
    text, edge = entry.text, _PRECISE_RESULT
    if len(text) <= 2 * edge:
        return _hash(bytes([entry.is_error]), _stable(text))
    middle = text[edge:-edge].encode(errors="replace").translate(None, _DIGITS)
    return _hash(bytes([entry.is_error]), _stable(text[:edge]), middle, _stable(text[-edge:]))


def _stable(text: str) -> bytes:
    if _UUID_TAIL.search(text):
        text = _UUID.sub("~", text)
    return " ".join(_VOLATILE.sub("~", text).split()).encode(errors="replace")


def _hash(*parts: bytes) -> bytes:
    digest = blake2b(digest_size=8)
    for part in parts:
        digest.update(part)
    return digest.digest()


def _key(digests: list[bytes]) -> str:
    """The loop's identity, whichever step of the round it was caught at."""
    rotations = (digests[i:] + digests[:i] for i in range(len(digests)))
    return b"".join(min(rotations)).hex() if len(digests) == 1 else _hash(*min(rotations)).hex()


def _summary(found: _Finding) -> str:
    if len(found.steps) > 1:
        tools = one_line(", ".join(step.call.tool for step in found.steps), _EXCERPT)
        return f"A round of {len(found.steps)} calls ({tools}) ran {found.repetitions} times over."
    step = found.steps[0]
    tool = one_line(step.call.tool, _EXCERPT)
    outcome = "failed the same way" if step.is_error else "returned the same"
    return f"{tool} {outcome} {found.repetitions} times, with {found.between} in between."


def _facts(found: _Finding, entry: ToolResult) -> dict[str, str | int | bool | tuple[str, ...]]:
    last = found.steps[-1]
    facts: dict[str, str | int | bool | tuple[str, ...]] = {
        "pattern": "identical" if len(found.steps) == 1 else "cycle",
        "repetitions": found.repetitions,
        "tool": last.call.tool,
        "arguments": last.call.arguments.decode(errors="ignore"),
        "result": entry.text[:_EXCERPT],
        "is_error": last.is_error,
    }
    if len(found.steps) > 1:
        facts["steps"] = tuple(step.call.label for step in found.steps)
    return facts
