"""Names and arguments that do not exist, used on after the agent was told so.

A result tells it in the words of the shell, of Python, of Node, or of the tool that refuses
its arguments. Only what stands in the agent's own call counts: a test that fails with an
`AttributeError` shows a bug to be fixed, not a name that the agent made up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from detectors.hallucinated_tool.finding import Call, Finding, Kind
from detectors.hallucinated_tool.schemas import Schemas
from supervisor.core.entry import ToolResult
from supervisor.core.text import one_line
from supervisor.core.verdict import Fact

__all__ = ["RepeatedMistakes"]

_EDGE = 1_000
"""Characters at either end of a result that are read: errors stand there."""
_REMEMBERED = 8
"""Mistakes counted at once, the least recent dropped first; bounds memory."""
_EVIDENCE = 8
_LONGEST = 120
"""Characters of a name that are kept."""

_REJECTED_CONFIDENCE = 0.85
_MISSING_CONFIDENCE = 0.85
_PATH_CONFIDENCE = 0.7
"""Below what a policy acts on: a path is also what one waits for to appear."""

_NAME = r"['\"`]?([\w.@/+-]{1,120})"
_TOLD = (
    ("not found", "command", re.compile(rf"(?:^|[\s:]){_NAME}: (?:command )?not found", re.M)),
    ("command not found", "command", re.compile(rf"command not found: {_NAME}")),
    ("No module named", "module", re.compile(rf"No module named {_NAME}")),
    ("Cannot find module", "module", re.compile(rf"Cannot find module {_NAME}")),
    (" is not allowed", "module", re.compile(rf"Import (?:of|from) {_NAME} is not allowed")),
    ("cannot import name", "name", re.compile(rf"cannot import name {_NAME}")),
    ("has no attribute", "name", re.compile(rf"has no attribute {_NAME}")),
    ("is not defined", "name", re.compile(rf"name {_NAME}['\"] is not defined")),
    ("nrecognized", "option", re.compile(rf"[Uu]nrecognized (?:argument|option)s?:? {_NAME}")),
    ("nknown ", "option", re.compile(rf"[Uu]nknown (?:option|flag|(?:sub)?command):? {_NAME}")),
    ("No such file", "path", re.compile(rf"{_NAME}['\"`]?: No such file or directory")),
    ("No such file", "path", re.compile(rf"No such file or directory: {_NAME}")),
)
"""A word to look for first, what is missing, and where its name stands."""

_SIGNS = ("not", "No ", " no ", "nrecog", "nknown ")
"""One of them stands in each of those words."""
_KEYWORD = re.compile(r"unexpected keyword argument '(\w*)'")
_REFUSED = re.compile(
    r"InputValidationError|[Ii]nvalid (?:tool )?(?:arguments|parameters|input) for "
    r"|(?:required (?:parameter|property|argument)|required) .{0,80} (?:is )?missing"
    r"|[Mm]issing required (?:parameter|argument|property)"
)
_HINT = re.compile(r"invalid|required|unexpected|unknown|argument|parameter|schema", re.I)
"""A refusal in other words, believed where the call violates the tool's schema."""
_REFUSAL_HEAD = 200
"""Characters in which a tool that refuses its arguments says so."""


@dataclass(slots=True)
class _Mistake:
    onset_seq: int
    told_at: int
    times: int = 1
    entries: tuple[int, ...] = ()


class RepeatedMistakes:
    """Counts the uses of what the agent was told does not exist. Constant time."""

    def __init__(self, schemas: Schemas, *, rejections: int, misses: int) -> None:
        self._schemas = schemas
        self._limits = {"argument": rejections}
        self._misses = misses
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget them all."""
        self._made: dict[tuple[str, str], _Mistake] = {}

    def completed(self, call: Call, entry: ToolResult) -> Finding | None:
        """What the result says is missing, or refuses, once too often."""
        told = _complaint(call, entry, self._schemas)
        if told is None:
            self._correct(call, entry)
            return None
        mistake = self._made.pop(told, None)
        if mistake is None:
            mistake = _Mistake(call.seq, entry.seq)
        elif call.seq > mistake.told_at:
            mistake.times += 1
            mistake.told_at = entry.seq
        else:  # called before the agent could know
            self._made[told] = mistake
            return None
        mistake.entries = (*mistake.entries, call.seq, entry.seq)[-_EVIDENCE:]
        self._made[told] = mistake
        if len(self._made) > _REMEMBERED:
            del self._made[next(iter(self._made))]
        if mistake.times < self._limits.get(told[0], self._misses):
            return None
        return self._finding(told, mistake, call)

    def _correct(self, call: Call, entry: ToolResult) -> None:
        """What works now is no mistake any more."""
        if self._made and not entry.is_error:
            for what, name in [told for told in self._made if _uses(call, *told)]:
                del self._made[what, name]

    def _finding(self, told: tuple[str, str], mistake: _Mistake, call: Call) -> Finding:
        what, name = told[0], one_line(told[1], _LONGEST)
        tool = one_line(call.tool, _LONGEST)
        facts: dict[str, Fact] = {"tool": tool, "times": mistake.times}
        entries = mistake.entries
        if what == "argument":
            complaint = one_line(self._schemas.complaint(call.tool, call.input), 2 * _LONGEST)
            because = f": {complaint}" if complaint else ""
            return Finding(
                Kind.REJECTED_ARGUMENTS,
                mistake.onset_seq,
                entries,
                _REJECTED_CONFIDENCE,
                f"Called {tool} with arguments it refuses, {mistake.times} times{because}.",
                f"arguments:{tool}",
                facts
                | {
                    "arguments": one_line(call.input.decode(errors="ignore"), _LONGEST),
                    "complaint": complaint,
                },
            )
        return Finding(
            Kind.MISSING_NAME,
            mistake.onset_seq,
            entries,
            _PATH_CONFIDENCE if what == "path" else _MISSING_CONFIDENCE,
            f"Used the {what} {name}, which does not exist, {mistake.times} times.",
            f"{what}:{name}",
            facts | {"missing": what, "name": name},
        )


def _complaint(call: Call, entry: ToolResult, schemas: Schemas) -> tuple[str, str] | None:
    """What is missing and its name, where the call itself uses it."""
    text = entry.text
    if len(text) > 2 * _EDGE:
        text = text[:_EDGE] + text[-_EDGE:]
    if "unexpected keyword" in text and (found := _KEYWORD.search(text)):
        return ("argument", call.tool) if _has_key(call, found[1]) else None
    if entry.is_error and _is_refusal(call, text[:_REFUSAL_HEAD], schemas):
        return "argument", call.tool
    if not any(sign in text for sign in _SIGNS):
        return None
    for word, what, pattern in _TOLD:
        if word in text and (found := pattern.search(text)):
            name = found[1].rstrip(".:")
            if _uses(call, what, name):
                return what, name[-_LONGEST:]
    return None


def _is_refusal(call: Call, head: str, schemas: Schemas) -> bool:
    if _REFUSED.search(head):
        return True
    return _HINT.search(head) is not None and bool(schemas.complaint(call.tool, call.input))


def _uses(call: Call, what: str, name: str) -> bool:
    """Whether the call holds the name as a word of its own."""
    if what == "argument":
        return call.tool == name
    given = call.input.decode(errors="ignore")
    at = given.find(name)
    while at >= 0:
        end = at + len(name)
        if not _of_a_word(given[max(0, at - 2) : at]) and not _of_a_word(given[end : end + 1]):
            return True
        at = given.find(name, at + 1)
    return False


def _of_a_word(neighbour: str) -> bool:
    """JSON writes a new line before a word as two characters."""
    return neighbour not in {r"\n", r"\t"} and (neighbour[-1:].isalnum() or neighbour[-1:] == "_")


def _has_key(call: Call, name: str) -> bool:
    return f'"{name}":' in call.input.decode(errors="ignore").replace('" :', '":')
