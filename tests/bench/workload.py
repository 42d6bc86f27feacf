"""A coding agent's transcript, made up: the same lines at every run, as long as one likes.

The mix follows real transcripts: two calls in three say something first, tools vary,
results have 0.5 to 4 KB and differ, and the runtime's own fields are all there.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from uuid import UUID

from supervisor.store.interface import StoredEntry

__all__ = ["SESSION", "endless_lines", "lines", "stored"]

SESSION = "11111111-1111-4111-8111-111111111111"
_STARTED = datetime(2026, 1, 1, tzinfo=UTC)
_VOCABULARY = (
    "assert build cache client commit config context delta encode error event fetch field "
    "graph handler index input iterator layer limit loader merge message module node offset "
    "option output packet parse path pool queue reader record render request response result "
    "retry route schema scope server session socket source state store stream table target "
    "task test timeout token trace update user value version window worker writer"
)
_WORDS = _VOCABULARY.split()
_FOLDERS = ("src/api", "src/core", "src/store", "tests/unit", "tests/api", "docs")


class _Agent:
    """Writes one transcript."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._count = 0
        self._parent: str | None = None

    def lines(self) -> Iterator[bytes]:
        """For ever: a prompt, then some dozens of steps, then another prompt."""
        while True:
            yield self._line("user", {"role": "user", "content": self._prose(30)})
            for _ in range(self._random.randint(20, 60)):
                yield from self._step()
            yield self._says([{"type": "text", "text": self._prose(80)}], "end_turn")

    def _step(self) -> Iterator[bytes]:
        kind = self._random.random()
        if kind < 0.35:
            thought = {"type": "thinking", "thinking": self._prose(60), "signature": "s" * 200}
            yield self._says([thought], None)
        elif kind < 0.65:
            yield self._says([{"type": "text", "text": self._prose(25)}], None)
        tool, given = self._call()
        call_id = f"toolu_{self._random.getrandbits(80):020x}"
        yield self._says(
            [{"type": "tool_use", "id": call_id, "name": tool, "input": given}], "tool_use"
        )
        yield self._result(call_id)

    def _call(self) -> tuple[str, dict[str, Any]]:
        path = f"/home/user/app/{self._path()}"
        match self._random.randrange(6):
            case 0:
                return "Read", {"file_path": path, "offset": self._random.randint(1, 900)}
            case 1:
                return "Grep", {"pattern": self._word(), "path": path, "output_mode": "content"}
            case 2:
                return "Edit", {
                    "file_path": path,
                    "old_string": self._prose(20),
                    "new_string": self._prose(25),
                }
            case 3:
                return "Glob", {"pattern": f"**/{self._word()}*.py"}
            case _:
                command = f"python -m pytest {self._path()} -k {self._word()} 2>&1 | tail -40"
                return "Bash", {"command": command, "description": self._prose(4)}

    def _result(self, call_id: str) -> bytes:
        text = self._output(self._random.randint(512, 4096))
        failed = self._random.random() < 0.08
        block = {"type": "tool_result", "tool_use_id": call_id, "content": text}
        content = [block | ({"is_error": True} if failed else {})]
        return self._line(
            "user", {"role": "user", "content": content}, toolUseResult={"stdout": text}
        )

    def _output(self, size: int) -> str:
        pieces: list[str] = []
        length = 0
        while length < size:
            number = self._random.randint(1, 2_000)
            piece = (
                f"{self._path()}:{number}: {self._prose(8)} "
                f"[{self._random.random():.3f}s] 0x{self._random.getrandbits(32):08x}"
            )
            pieces.append(piece)
            length += len(piece) + 1
        return "\n".join(pieces)[:size]

    def _says(self, content: list[dict[str, Any]], stop: str | None) -> bytes:
        message = {
            "id": f"msg_{self._count:024d}",
            "type": "message",
            "role": "assistant",
            "model": "claude-opus-5-5",
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 812,
                "cache_read_input_tokens": 48_112,
                "output_tokens": 231,
                "service_tier": "standard",
            },
        }
        return self._line("assistant", message, requestId=f"req_{self._count:024d}")

    def _line(self, kind: str, message: dict[str, Any], **more: Any) -> bytes:
        self._count += 1
        uuid = str(UUID(int=self._random.getrandbits(128), version=4))
        record = {
            "parentUuid": self._parent,
            "isSidechain": False,
            "userType": "external",
            "cwd": "/home/user/app",
            "sessionId": SESSION,
            "version": "2.1.330",
            "gitBranch": "main",
            "type": kind,
            "message": message,
            "uuid": uuid,
            "timestamp": (_STARTED + timedelta(seconds=3 * self._count)).isoformat(),
        }
        self._parent = uuid
        return json.dumps(record | more, separators=(",", ":")).encode()

    def _word(self) -> str:
        return self._random.choice(_WORDS)

    def _path(self) -> str:
        return f"{self._random.choice(_FOLDERS)}/{self._word()}_{self._word()}.py"

    def _prose(self, words: int) -> str:
        return " ".join(self._random.choices(_WORDS, k=words))


def endless_lines(seed: int = 1) -> Iterator[bytes]:
    """A transcript's raw lines, one after another, for ever."""
    return _Agent(seed).lines()


def lines(count: int, seed: int = 1) -> list[bytes]:
    """The first `count` raw lines of a transcript; another seed makes another one."""
    return list(islice(endless_lines(seed), count))


def stored(raws: list[bytes], after: int = 0) -> list[StoredEntry]:
    """Raw lines as a store returns them, numbered on from `after`."""
    return [
        StoredEntry(session_id="s", seq=seq, transcript=SESSION, raw=raw)
        for seq, raw in enumerate(raws, after + 1)
    ]
