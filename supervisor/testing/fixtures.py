"""Detector fixtures, and the conformance suite that every detector has to pass.

A fixture is a JSONL file. Its first line says what is expected, the others are raw
Claude Code transcript entries, numbered from 1, best trimmed from a real transcript::

    {"about": "...", "source": "written by hand", "expect": [{"seq": 6, "onset_seq": 3}]}
    {"type": "user", "message": {"role": "user", "content": "Run the tests."}}
    ...

A detector that finds nothing by default gets its configuration in a ``config`` there.
A detector NAME has a folder of them, with at least one `fires-*.jsonl` and at least one
`quiet-*.jsonl`, which expects nothing. In a test of your own::

    from supervisor.testing.fixtures import check_detector

    def test_my_detector_conforms():
        assert check_detector(MyDetector, Path("fixtures/my_detector")) == []
"""

from __future__ import annotations

import ast
import inspect
import random
import re
import sys
import textwrap
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import FunctionType, MethodType, ModuleType
from typing import TypedDict

import msgspec

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Notice, Prompt, Text, ToolCall, ToolResult, Unknown
from supervisor.core.verdict import Fact, FailureMode, Verdict
from supervisor.errors import TranscriptError
from supervisor.ingest.claude_code import TranscriptReader

__all__ = [
    "CHECKS",
    "Expected",
    "Fixture",
    "check_detector",
    "deep_size",
    "read_fixture",
    "verdicts_of",
    "workload",
]

_LONG_RUN = 100_000
_ALLOWED_BYTES = 1 << 16
"""Of a detector's state after a long run. A fleet holds thousands of them; Lucid's own take
less than that all together."""
_LONGEST_FACT = 1_000
_FACT_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")
"""Names of facts are told to the agent as they are."""
_LONGEST_SUMMARY = 500
_MOST_EVIDENCE = 32


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A verdict that a fixture expects; what it leaves out may be anything."""

    seq: int
    onset_seq: int
    confidence_at_least: float = 0.0
    confidence_below: float = 1.01
    key: str | None = None
    entries: tuple[int, ...] | None = None
    facts: dict[str, Fact] = {}

    def differences(self, found: Verdict) -> Iterator[str]:
        """What of `found` is not as expected."""
        if found.onset_seq != self.onset_seq:
            yield f"onset_seq is {found.onset_seq}, not {self.onset_seq}"
        if not self.confidence_at_least <= found.confidence < self.confidence_below:
            yield (
                f"confidence is {found.confidence}, not in "
                f"[{self.confidence_at_least}, {self.confidence_below})"
            )
        if self.key is not None and found.key != self.key:
            yield f"key is {found.key!r}, not {self.key!r}"
        if self.entries is not None and found.evidence.entries != self.entries:
            yield f"evidence.entries is {found.evidence.entries}, not {self.entries}"
        for name, value in self.facts.items():
            if (fact := found.evidence.facts.get(name)) != value:
                yield f"fact {name} is {fact!r}, not {value!r}"


class _Header(msgspec.Struct, forbid_unknown_fields=True):
    about: str
    source: str
    expect: tuple[Expected, ...]
    config: dict[str, object] = {}


class Fixture(msgspec.Struct, frozen=True):
    """A piece of transcript, and the verdicts that one detector finds in it."""

    name: str
    about: str
    """What happens in it."""
    source: str
    """The transcript it was trimmed from, or that it was written by hand."""
    expect: tuple[Expected, ...]
    entries: tuple[Entry, ...]
    config: dict[str, object] = {}
    """What a policy would say under the detector's name; the defaults if left out."""

    def detector(self, kind: type[Detector]) -> Detector:
        """A new detector, configured as the fixture says."""
        return kind(kind.Config.model_validate_json(msgspec.json.encode(self.config)))


def read_fixture(path: Path) -> Fixture:
    """The fixture in `path`.

    Raises `TranscriptError`, with the place, where a line cannot be read.
    """
    first, *lines = path.read_bytes().splitlines() or [b""]
    try:
        header = msgspec.json.decode(first, type=_Header)
    except msgspec.DecodeError as error:
        raise TranscriptError(f"{path}:1: not a fixture's first line: {error}") from error
    reader = TranscriptReader(session_id=path.stem, transcript=path.stem)
    entries: list[Entry] = []
    for seq, line in enumerate(lines, 1):
        for entry in reader.read(line, seq):
            if isinstance(entry, Unknown) and entry.problem:
                raise TranscriptError(f"{path}:{seq + 1}: {entry.problem}")
            entries.append(entry)
    return Fixture(
        path.name, header.about, header.source, header.expect, tuple(entries), header.config
    )


def verdicts_of(detector: Detector, entries: Iterable[Entry]) -> list[Verdict]:
    """Every verdict of `detector` on `entries`, its last words included."""
    found = [verdict for entry in entries for verdict in detector.observe(entry)]
    return [*found, *detector.finish()]


def check_detector(kind: type[Detector], folder: Path) -> list[str]:
    """Every way in which a detector, or its fixtures in `folder`, fails to conform."""
    return [problem for check in CHECKS.values() for problem in check(kind, folder)]


def _fixtures(folder: Path) -> list[Fixture]:
    return [read_fixture(path) for path in sorted(folder.glob("*.jsonl"))]


def _is_declared(kind: type[Detector], _: Path) -> Iterator[str]:
    module = kind.__module__.rpartition(".")[2]
    if kind.name != module:
        yield f"its name is {kind.name!r}; it has to be that of its file, {module!r}"
    if not isinstance(kind.failure_mode, FailureMode):
        yield f"its failure_mode is {kind.failure_mode!r}, not a FailureMode"
    if not issubclass(kind.Config, DetectorConfig):
        yield f"its Config, {kind.Config.__name__}, is not a DetectorConfig"
    elif not isinstance(kind().config, kind.Config):
        yield "without a configuration it does not run with its Config's defaults"


def _is_documented(kind: type[Detector], _: Path) -> Iterator[str]:
    if not (sys.modules[kind.__module__].__doc__ or "").strip():
        yield f"the module {kind.__module__} has no docstring"
    for documented in (kind, kind.Config):
        if not (documented.__doc__ or "").strip():
            yield f"the class {documented.__name__} has no docstring"
    if kind.Config is not DetectorConfig:
        for field in _undocumented_fields(kind.Config):
            yield f"{kind.Config.__name__}.{field} has no docstring that gives its reason"


def _undocumented_fields(config: type[DetectorConfig]) -> Iterator[str]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(config))).body
    assert isinstance(definition, ast.ClassDef)
    body = definition.body
    for statement, following in zip(body, [*body[1:], None], strict=True):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            text = following.value if isinstance(following, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                yield statement.target.id


def _has_both_kinds_of_fixture(_: type[Detector], folder: Path) -> Iterator[str]:
    for kind, wanted in (("fires", "expects a verdict"), ("quiet", "expects nothing")):
        paths = sorted(folder.glob(f"{kind}-*.jsonl"))
        if not paths:
            yield f"there is no {kind}-*.jsonl in {folder}"
        for fixture in map(read_fixture, paths):
            if bool(fixture.expect) != (kind == "fires"):
                yield f"{fixture.name}: its name says that it {wanted}; its first line does not"
    for path in sorted(folder.glob("*.jsonl")):
        if not path.name.startswith(("fires-", "quiet-")):
            yield f"{path.name}: a fixture's name begins with fires- or quiet-"


def _fires_where_expected(kind: type[Detector], folder: Path) -> Iterator[str]:
    for fixture in _fixtures(folder):
        found = verdicts_of(fixture.detector(kind), fixture.entries)
        places, expected = [v.seq for v in found], [e.seq for e in fixture.expect]
        if places != expected:
            yield f"{fixture.name}: it fires at {places}, not at {expected}"
            continue
        for one, verdict in zip(fixture.expect, found, strict=True):
            for difference in one.differences(verdict):
                yield f"{fixture.name}, entry {verdict.seq}: {difference}"


def _keeps_the_verdict_contract(kind: type[Detector], folder: Path) -> Iterator[str]:
    for fixture in _fixtures(folder):
        detector, seen = fixture.detector(kind), set[int]()
        for entry in fixture.entries:
            seen.add(entry.seq)
            for verdict in detector.observe(entry):
                for problem in _breaches(verdict, entry, seen, kind):
                    yield f"{fixture.name}, entry {entry.seq}: {problem}"


def _breaches(
    verdict: Verdict, entry: Entry, seen: set[int], kind: type[Detector]
) -> Iterator[str]:
    for name in ("session_id", "transcript", "agent_id", "seq"):
        if getattr(verdict, name) != getattr(entry, name):
            yield f"the verdict's {name} is not that of the entry that completed it"
    if verdict.detector != kind.name or verdict.failure_mode not in kind.failure_modes():
        yield "the verdict names another detector or failure mode"
    if not 0 <= verdict.confidence <= 1:
        yield f"confidence {verdict.confidence} is not in 0..1"
    if verdict.onset_seq not in seen:
        yield f"onset_seq {verdict.onset_seq} is no entry that has been seen"
    if not verdict.evidence.entries or not seen.issuperset(verdict.evidence.entries):
        yield f"evidence.entries {verdict.evidence.entries} are not entries that have been seen"
    if list(verdict.evidence.entries) != sorted(set(verdict.evidence.entries))[:_MOST_EVIDENCE]:
        yield f"evidence.entries are not ascending, single and at most {_MOST_EVIDENCE}"
    if len(verdict.summary) > _LONGEST_SUMMARY or not verdict.summary.isprintable():
        yield f"the summary is not one line of at most {_LONGEST_SUMMARY} characters"
    yield from _unbounded(verdict.evidence.facts)


def _unbounded(facts: Mapping[str, Fact]) -> Iterator[str]:
    for name, value in facts.items():
        if not _FACT_NAME.fullmatch(name):
            yield f"fact {name[:60]!r} has no name of its own: only values may be the agent's"
        texts = value if isinstance(value, tuple) else (str(value),)
        if sum(map(len, texts)) > _LONGEST_FACT * 4 or max(map(len, texts), default=0) > (
            _LONGEST_FACT
        ):
            yield f"fact {name} is too long"


def _finds_the_same_again(kind: type[Detector], folder: Path) -> Iterator[str]:
    """In a new instance, and in two that take turns, whatever the size of the batches."""
    for fixture in _fixtures(folder):
        first = verdicts_of(fixture.detector(kind), fixture.entries)
        for size in (1, 2, 7):
            one, other = fixture.detector(kind), fixture.detector(kind)
            found: tuple[list[Verdict], list[Verdict]] = ([], [])
            for start in range(0, len(fixture.entries), size):
                for detector, verdicts in zip((one, other), found, strict=True):
                    for entry in fixture.entries[start : start + size]:
                        verdicts.extend(detector.observe(entry))
            if any(
                [*verdicts, *detector.finish()] != first
                for detector, verdicts in zip((one, other), found, strict=True)
            ):
                yield f"{fixture.name}: fed again in batches of {size}, its verdicts differ"


def _leaves_entries_alone(kind: type[Detector], folder: Path) -> Iterator[str]:
    for fixture in _fixtures(folder):
        before = msgspec.json.encode(fixture.entries)
        verdicts_of(fixture.detector(kind), fixture.entries)
        if msgspec.json.encode(fixture.entries) != before:
            yield f"{fixture.name}: it changed the entries that it was given"


def _keeps_its_memory_bounded(kind: type[Detector], _: Path) -> Iterator[str]:
    detector = kind()
    for entry in workload(_LONG_RUN):
        for _verdict in detector.observe(entry):
            pass
    size = deep_size(detector)
    if size > _ALLOWED_BYTES:
        yield f"after {_LONG_RUN:,} entries it holds {size:,} bytes; {_ALLOWED_BYTES:,} are allowed"


CHECKS: Mapping[str, Callable[[type[Detector], Path], Iterator[str]]] = {
    "is declared": _is_declared,
    "is documented": _is_documented,
    "has both kinds of fixture": _has_both_kinds_of_fixture,
    "fires where expected": _fires_where_expected,
    "keeps the verdict contract": _keeps_the_verdict_contract,
    "finds the same again": _finds_the_same_again,
    "leaves entries alone": _leaves_entries_alone,
    "keeps its memory bounded": _keeps_its_memory_bounded,
}
"""Each yields one sentence for every fault it finds."""


class _Place(TypedDict):
    session_id: str
    transcript: str
    seq: int


def workload(length: int, seed: int = 0) -> Iterator[Entry]:
    """Entries of a long, varied and partly broken session, the same for the same seed.

    Among them calls that fail, are never answered or answered twice, invented tools,
    long arguments and results, prompts, and now and then a call that repeats and repeats.
    """
    rng = random.Random(seed)
    for seq in range(1, length + 1):
        place = _Place(session_id="workload", transcript="workload", seq=seq)
        yield _loop(place) if seq % 1_000 < 40 else _work(rng, place)


def _loop(place: _Place) -> Entry:
    seq = place["seq"]
    if seq % 2:
        return ToolResult(**place, call_id=f"call-{seq - 1}", text="ok")
    return ToolCall(**place, call_id=f"call-{seq}", tool="Bash", input=msgspec.Raw(b"{}"))


def _work(rng: random.Random, place: _Place) -> Entry:
    seq, chance = place["seq"], rng.random()
    if chance < 0.4:
        tool = rng.choice(["Bash", "Read", "Edit", "Grep", f"mcp__server__tool_{seq % 997}"])
        step = rng.choice(["again", f"step {rng.randrange(2_000)}", "x" * rng.randrange(9_000)])
        given = msgspec.Raw(msgspec.json.encode({"command": step}))
        return ToolCall(**place, call_id=f"call-{seq}", tool=tool, input=given)
    if chance < 0.8:
        asked = seq - rng.randrange(1, 4)
        missing = f"No such tool available: mcp__server__tool_{asked % 997}"
        text = rng.choice(["ok", f"result {seq}", "a line\n" * 200, missing])
        return ToolResult(**place, call_id=f"call-{asked}", text=text, is_error=rng.random() < 0.3)
    if chance < 0.98:
        return Text(**place, text=f"Thought {seq} about step {rng.randrange(2_000)}. " * 8)
    if chance < 0.999:
        return Notice(**place, type="attachment/tools", tools_added=(f"tool_{seq}",))
    return Prompt(**place, text=f"Do part {seq}.")


def deep_size(value: object, *, without: Iterable[object] = ()) -> int:
    """Bytes that `value` holds, all it refers to included; classes and code left out, and
    what is `without`, such as a configuration that many share."""
    seen = {id(item) for item in without}
    todo, total = [value], 0
    while todo:
        item = todo.pop()
        if id(item) in seen or isinstance(item, type | ModuleType | FunctionType | MethodType):
            continue
        seen.add(id(item))
        total += _own_size(item)
        todo.extend(_parts(item))
    return total


def _own_size(item: object) -> int:
    # msgspec.Raw answers sys.getsizeof with an uninitialised number (0.22).
    return len(bytes(item)) if isinstance(item, msgspec.Raw) else sys.getsizeof(item)


def _parts(item: object) -> Iterator[object]:
    if isinstance(item, str | bytes | bytearray | array | msgspec.Raw) or hasattr(item, "nbytes"):
        return
    if isinstance(item, Mapping):
        yield from item.keys()
        yield from item.values()
    elif isinstance(item, Iterable) and hasattr(item, "__len__"):
        yield from item
    yield from getattr(item, "__dict__", {}).values()
    for kind in type(item).__mro__:
        slots = getattr(kind, "__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            yield getattr(item, slot, None)
