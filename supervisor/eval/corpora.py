"""Readers of the corpora: files of labelled traces, and raw Claude Code transcripts.

- `*.jsonl`, `*.jsonl.gz` of normalised traces, one a line (`steps` and `labels`)
- `*.json`, `*.json.gz` of loop cases, one list of them
- `*.jsonl`, `*.jsonl.gz` that are Claude Code transcripts, one a file

What a file is, its content tells. A line that cannot be read is told with its place and
the rest is read.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path

import msgspec

from supervisor.core.entry import Entry
from supervisor.errors import TranscriptError
from supervisor.eval.cases import CaseStep, case_batches
from supervisor.eval.judged import needed_help
from supervisor.eval.steps import Step, batches
from supervisor.eval.trace import Case, Label, Outcome, Trace
from supervisor.ingest.claude_code import TranscriptReader

__all__ = ["Fault", "read_corpora", "traces"]

_SUFFIXES = (".jsonl", ".jsonl.gz", ".json", ".json.gz")
_BESIDE = ".meta.json"
"""What Claude Code writes beside a subagent's transcript."""
_OUTCOME_ONLY = "task outcome only"
"""The coverage of data sets whose successes count as healthy runs."""
_TRAIL = frozenset({"loop", "drift", "hallucinated_tool", "tool_misuse", "context_loss"})
_AGENTRX = frozenset({"drift", "tool_misuse"})
_EVERY_ERROR = "span-level human annotation of all errors"
_EVERY_FAILURE = re.compile("all failures (?:of the trajectory listed )?by step")
"""In a coverage: the people who labelled it listed all failures of each failed run."""
_HEAD_LINES = 64
"""Lines looked at to tell what a file is, and whose; the first may be odd or summaries."""


class Fault(msgspec.Struct, frozen=True):
    """What could not be read, and where it stands. The rest is read."""

    place: str
    message: str

    def __str__(self) -> str:
        return f"{self.place}: {self.message}"


class _Label(msgspec.Struct):
    failure: str = msgspec.field(name="class")
    step: int | None = None
    occurrences: tuple[int, ...] | None = None
    note: str | None = None


class _Row(msgspec.Struct):
    steps: list[Step]
    id: str
    labels: list[_Label] = []
    group: str | None = None
    objective: str | None = None
    tools: list[str] | None = None
    coverage: str | None = None


class _CaseRow(msgspec.Struct):
    id: str
    steps: list[CaseStep]
    expected: str
    ideal: str | None = None
    expected_by_step: int | None = None
    peer: str = ""
    basis: str = ""
    note: str | None = None


class _Shape(msgspec.Struct):
    """By which a line of traces is told from a transcript's."""

    steps: msgspec.Raw = msgspec.Raw(b"")


class _Head(msgspec.Struct, rename="camel"):
    type: str | None = None
    session_id: str | None = None
    agent_id: str | None = None
    is_sidechain: bool | None = None


_SHAPE = msgspec.json.Decoder(_Shape)
_ROW = msgspec.json.Decoder(_Row)
_CASES = msgspec.json.Decoder(list[msgspec.Raw])
_CASE = msgspec.json.Decoder(_CaseRow)
_HEAD = msgspec.json.Decoder(_Head)


def traces(*paths: Path) -> Iterator[Trace]:
    """The traces at and below `paths`; raises `TranscriptError` at the first fault."""
    for item in read_corpora(paths):
        if isinstance(item, Fault):
            raise TranscriptError(str(item))
        yield item


def read_corpora(paths: Iterable[Path]) -> Iterator[Trace | Fault]:
    """The traces at and below `paths`, file by file and in the order of their names, and
    what could not be read. Raises `TranscriptError` where a path does not exist."""
    for file in sorted({file for path in paths for file in _files(path)}):
        try:
            data = _content(file)
        except (OSError, EOFError, zlib.error) as error:
            yield Fault(str(file), f"cannot be read: {error}; copy it again from its source")
            continue
        if file.name.endswith((".json", ".json.gz")):
            yield from _cases(file, data)
        else:
            yield from _lines(file, data)


def _files(path: Path) -> Iterator[Path]:
    root = path.expanduser().absolute()
    if root.is_file():
        yield root
    elif root.is_dir():
        yield from (file for file in root.rglob("*") if _is_corpus(file.name) and file.is_file())
    else:
        raise TranscriptError(f"{path} does not exist; give files of traces or folders of them")


def _is_corpus(name: str) -> bool:
    return name.endswith(_SUFFIXES) and not name.endswith(_BESIDE)


def _content(file: Path) -> bytes:
    data = file.read_bytes()
    return gzip.decompress(data) if file.suffix == ".gz" else data


def _lines(file: Path, data: bytes) -> Iterator[Trace | Fault]:
    lines = [(number, line) for number, line in enumerate(data.split(b"\n"), 1) if line.strip()]
    if not lines:
        yield Fault(str(file), "is empty: no trace and no transcript stands in it")
    elif any(_is_trace(line) for _, line in lines[:_HEAD_LINES]):
        for number, line in lines:
            yield _trace(file, number, line)
    elif any(_is_record(line) for _, line in lines[:_HEAD_LINES]):
        yield _transcript(file, lines)
    else:
        yield Fault(str(file), "holds neither traces nor a transcript: no line has steps or a type")


def _is_trace(line: bytes) -> bool:
    try:
        shape = _SHAPE.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return bool(memoryview(shape.steps))


def _is_record(line: bytes) -> bool:
    try:
        return bool(_HEAD.decode(line).type)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False


def _trace(file: Path, number: int, line: bytes) -> Trace | Fault:
    place = f"{file}:{number}"
    try:
        row = _ROW.decode(line)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return Fault(place, f"not a trace: {error}")
    outcome = _outcome(row.labels)
    labels = tuple(
        Label(
            failure=label.failure,
            step=label.step,
            occurrences=label.occurrences or (),
            note=label.note or "",
        )
        for label in row.labels
        if label.failure not in {"other", *Outcome}
    )
    coverage = row.coverage or ""
    return Trace(
        id=row.id,
        group=row.group or row.id,
        dataset=file.name,
        place=place,
        objective=row.objective,
        tools=tuple(row.tools) if row.tools is not None else None,
        labels=labels,
        errors=tuple(sorted({one.step for one in row.labels if one.step is not None})),
        outcome=outcome,
        known=_known(coverage, outcome),
        healthy=outcome is Outcome.SUCCESS and coverage == _OUTCOME_ONLY,
        batches=partial(batches, row.id, row.steps, row.tools, row.objective),
    )


def _outcome(labels: Iterable[_Label]) -> Outcome | None:
    for label in labels:
        if label.step is None and label.failure in set(Outcome):
            return Outcome(label.failure)
    return None


def _known(coverage: str, outcome: Outcome | None) -> frozenset[str]:
    """The classes that the source's people looked for in the whole trace."""
    if coverage.startswith(_EVERY_ERROR):
        return _TRAIL
    if outcome is Outcome.FAILURE and _EVERY_FAILURE.search(coverage):
        return _AGENTRX
    return frozenset()


def _cases(file: Path, data: bytes) -> Iterator[Trace | Fault]:
    try:
        rows = _CASES.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        yield Fault(str(file), f"not a list of loop cases: {error}")
        return
    for number, raw in enumerate(rows, 1):
        try:
            row = _CASE.decode(raw)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            yield Fault(f"{file}: case {number}", f"not a loop case: {error}")
            continue
        yield _case(file, number, row)


def _case(file: Path, number: int, row: _CaseRow) -> Trace:
    case = Case(
        ideal=None if row.ideal is None else row.ideal == "loop",
        expected=row.expected == "loop",
        by_step=row.expected_by_step,
        peer=row.peer,
        basis=row.basis,
        note=row.note or "",
    )
    return Trace(
        id=row.id,
        group=row.id,
        dataset=file.name,
        place=f"{file}: case {number}",
        labels=(Label(failure="loop", note=case.note),) if case.ideal else (),
        known=frozenset() if case.ideal is None else frozenset({"loop"}),
        case=case,
        batches=partial(case_batches, row.id, row.steps),
    )


def _transcript(file: Path, lines: Sequence[tuple[int, bytes]]) -> Trace:
    session_id, agent_id = _whose(lines)
    digest = sha256(b"\n".join(line for _, line in lines)).hexdigest()[:12]
    return Trace(
        id=f"{file.parent.name}/{file.name}",
        group=session_id or file.name,
        dataset=file.parent.name,
        place=str(file),
        digest=digest,
        healthy=not needed_help(digest),
        batches=partial(_transcript_batches, file.name, agent_id, lines),
    )


def _whose(lines: Sequence[tuple[int, bytes]]) -> tuple[str | None, str | None]:
    """The session and, of a subagent's transcript, the agent."""
    for _, line in lines[:_HEAD_LINES]:
        try:
            head = _HEAD.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if head.session_id:
            return head.session_id, head.agent_id if head.is_sidechain else None
    return None, None


def _transcript_batches(
    name: str, agent_id: str | None, lines: Sequence[tuple[int, bytes]]
) -> Iterator[tuple[Entry, ...]]:
    reader = TranscriptReader(name, name, agent_id)
    for number, line in lines:
        yield reader.read(line, number)
