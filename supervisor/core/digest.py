"""`Digest`: what an agent was asked, has done and has tried, in short.

For the texts that recovery actions put to it, and for an agent that begins anew. Taken
from entries as they come by, in constant time and bounded memory. All text in it is the
transcript's, and untrusted: `told` quotes it.
"""

from __future__ import annotations

import json
import re
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from hashlib import blake2b

import msgspec

from supervisor.core.entry import Entry, Origin, Prompt, ToolCall, ToolResult
from supervisor.core.feedback import quote
from supervisor.core.text import one_line

__all__ = ["Digest", "DigestWriter", "Step", "fingerprint", "told"]

_OBJECTIVE = 20_000
"""Characters of the first prompt that are kept: an agent that begins anew gets them."""
_ASKED = 5
"""Later prompts of the user that are kept, the newest of them."""
_ASKED_LENGTH = 2_000
_DONE = 40
"""Finished calls that may have written, the newest of them."""
_RECENT = 512
"""Calls of any kind that are remembered, to find those that a verdict rests on."""
_GIVEN = 200
_RESULT = 160
_INPUT = 100_000
"""Bytes of a call's input that are read; a longer one is a file, and told by its start."""
_TODOS = 32

_TELLING = ("command", "file_path", "notebook_path", "path", "url", "pattern", "query", "prompt")
"""Arguments that say by themselves what a call does."""
_ONLY_LOOKS = re.compile(
    r"\s*(?:cat|date|df|du|echo|env|file|find|grep|head|less|ls|ps|pwd|rg|sed -n|sleep|stat|tail"
    r"|tree|wc|which|git (?:diff|log|show|status))\b[^>&;|`$]*"
)
"""Commands that change nothing, as far as their text can tell."""
_CREATED = re.compile(r"Task #(\w{1,16}) created")
_CLOSED = frozenset({"completed", "deleted", "cancelled"})


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A tool call, and what came of it."""

    seq: int
    agent_id: str | None
    tool: str
    given: str
    """The argument that tells most, or the start of all of them."""
    fingerprint: str
    """Equal for calls of one tool with equal arguments."""
    result_seq: int | None = None
    """None while it runs."""
    result: str = ""
    """The start of what it returned."""
    result_length: int = 0
    """Characters of all that it returned."""
    is_error: bool = False


class Digest(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a session at one moment."""

    objective: str = ""
    """The user's first prompt."""
    asked_since: tuple[str, ...] = ()
    """What the user asked later, the newest last."""
    done: tuple[Step, ...] = ()
    """Calls that finished and may have changed something, oldest first."""
    todos: tuple[str, ...] = ()
    """The agent's own list, as far as it is open."""
    recent: tuple[Step, ...] = ()
    """The newest calls of any kind, oldest first."""

    def resting_on(self, seqs: Collection[int]) -> tuple[Step, ...]:
        """The recent calls which these entries are, or hold the results of."""
        return tuple(s for s in self.recent if s.seq in seqs or s.result_seq in seqs)

    def since(self, seq: int, agent_id: str | None) -> tuple[Step, ...]:
        """An agent's recent calls from an entry on."""
        return tuple(s for s in self.recent if s.seq >= seq and s.agent_id == agent_id)


def fingerprint(tool: str, raw: bytes | msgspec.Raw) -> str:
    """The same for calls of one tool whose arguments are equal as JSON.

    >>> a, b = (fingerprint("Read", text) for text in (b'{"a":1,"b":2}', b'{"b": 2, "a": 1}'))
    >>> a == b
    True
    """
    given = bytes(raw)
    # What is no JSON is told apart by its bytes.
    with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        given = msgspec.json.encode(msgspec.json.decode(given), order="sorted")
    named = tool.encode(errors="surrogatepass")
    return blake2b(named + b"\0" + given, digest_size=12).hexdigest()


def told(steps: Iterable[Step], limit: int) -> tuple[str, ...]:
    """The calls, one quoted line each, equal ones together; the newest `limit` of them."""
    counts = Counter(step.fingerprint for step in steps)
    newest = {step.fingerprint: step for step in steps}
    return tuple(_line(step, counts[step.fingerprint]) for step in list(newest.values())[-limit:])


def _line(step: Step, times: int) -> str:
    by = ", by a subagent" if step.agent_id else ""
    count = f", {times} times" if times > 1 else ""
    came = f": {'failed with ' if step.is_error else ''}{quote(step.result, 100)}"
    return (
        f"{quote(step.tool, 80)} {quote(step.given, 160)}{by}{count}{came if step.result else ''}"
    )


class DigestWriter:
    """Follows a session's entries; `digest` is what they come to so far."""

    def __init__(self, may_write: Callable[[str], bool]) -> None:
        """`may_write(tool)`: may a call of this tool change anything?"""
        self._may_write = may_write
        self._asked: deque[str] = deque(maxlen=_ASKED)
        self._objective = ""
        self._prompts: OrderedDict[str, None] = OrderedDict()
        self._recent: OrderedDict[str, Step] = OrderedDict()
        self._done: OrderedDict[str, Step] = OrderedDict()
        self._todos: dict[str, str] = {}
        self._creating: dict[str, str] = {}

    @property
    def digest(self) -> Digest:
        """What is known by now."""
        return Digest(
            objective=self._objective,
            asked_since=tuple(self._asked),
            done=tuple(self._done.values()),
            todos=tuple(self._todos.values()),
            recent=tuple(self._recent.values()),
        )

    def observe(self, entry: Entry) -> None:
        """Take the next entry; what a fork repeats is known already."""
        match entry:
            case ToolCall():
                self._called(entry)
            case ToolResult():
                self._returned(entry)
            case Prompt(origin=Origin.USER, agent_id=None):
                self._was_asked(entry.text)

    def _was_asked(self, text: str) -> None:
        if not self._objective:
            self._objective = text[:_OBJECTIVE]
        kept = text[:_ASKED_LENGTH]
        if kept in self._prompts or text[:_OBJECTIVE] == self._objective:
            return
        self._asked.append(kept)
        self._prompts[kept] = None
        if len(self._prompts) > 2 * _ASKED:
            self._prompts.popitem(last=False)

    def _called(self, call: ToolCall) -> None:
        if call.call_id in self._recent:
            return
        given = _decoded(call.input)
        self._recent[call.call_id] = Step(
            seq=call.seq,
            agent_id=call.agent_id,
            tool=call.tool,
            given=_telling(given, call.input),
            fingerprint=fingerprint(call.tool, call.input),
        )
        if len(self._recent) > _RECENT:
            self._recent.popitem(last=False)
        if call.agent_id is None:
            self._note_todos(call, given)

    def _returned(self, result: ToolResult) -> None:
        subject = self._creating.pop(result.call_id, None)
        if subject and (found := _CREATED.search(result.text[:200])):
            self._todos[found[1]] = subject
        step = self._recent.get(result.call_id)
        if step is None or step.result_seq is not None:
            return
        step = msgspec.structs.replace(
            step,
            result_seq=result.seq,
            result=one_line(result.text, _RESULT),
            result_length=len(result.text),
            is_error=result.is_error,
        )
        self._recent[result.call_id] = step
        if not step.is_error and self._changes(step):
            self._done[result.call_id] = step
            if len(self._done) > _DONE:
                self._done.popitem(last=False)

    def _changes(self, step: Step) -> bool:
        looks = step.tool == "Bash" and _ONLY_LOOKS.fullmatch(step.given)
        return self._may_write(step.tool) and (not looks or step.given.endswith("…"))

    def _note_todos(self, call: ToolCall, given: dict[str, object]) -> None:
        if call.tool == "TodoWrite":
            self._todos = dict(_listed(given.get("todos")))
        elif call.tool == "TaskCreate" and len(self._todos) < _TODOS:
            self._creating[call.call_id] = one_line(str(given.get("subject", "")), _GIVEN)
        elif call.tool == "TaskUpdate" and given.get("status") in _CLOSED:
            self._todos.pop(str(given.get("taskId")), None)


def _listed(todos: object) -> Iterable[tuple[str, str]]:
    items = todos if isinstance(todos, list) else []
    for number, item in enumerate(items[:_TODOS]):
        if isinstance(item, dict) and item.get("status") not in _CLOSED:
            yield str(number), one_line(str(item.get("content", "")), _GIVEN)


def _decoded(raw: msgspec.Raw) -> dict[str, object]:
    if len(memoryview(raw)) > _INPUT:
        return {}
    try:
        return msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}


def _telling(given: dict[str, object], raw: msgspec.Raw) -> str:
    found = next((v for name in _TELLING if isinstance(v := given.get(name), str)), None)
    if found is not None:
        return one_line(found, _GIVEN)
    start = bytes(memoryview(raw)[: 4 * _GIVEN]).decode(errors="replace")
    return one_line(json.dumps(given, ensure_ascii=False) if given else start, _GIVEN)
