"""What is wrong with a call's arguments by its tool's JSON schema, top level only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from zlib import compress, decompress

import msgspec

from supervisor.core.entry import Parameters
from supervisor.core.text import one_line

__all__ = ["Schemas"]

_MOST = 4_096
"""Bytes of the parameters remembered, packed; the oldest are dropped first. Claude Code's
own tools take 3 KB."""
_LONGEST = 1_024
"""Bytes of one tool's packed parameters; a tool that takes more is not checked."""
_OVERHEAD = 200
"""Bytes that Python takes for one more of them, its name included."""
_FAST = 1
_SHOWN = 40

_TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
_PACKED = msgspec.json.Decoder(Parameters)
_GIVEN = msgspec.json.Decoder(dict[str, object])


class Schemas:
    """The parameters of the tools that a listing defines."""

    def __init__(self) -> None:
        self._packed: dict[str, bytes] = {}
        self._size = 0

    def learn(self, tools: Iterable[Parameters]) -> None:
        """Remember what these take."""
        for tool in tools:
            packed = compress(msgspec.json.encode(tool), _FAST)
            self._forget(tool.tool)
            if len(packed) <= _LONGEST:
                self._packed[tool.tool] = packed
                self._size += _OVERHEAD + len(packed)
            while self._size > _MOST:
                self._forget(next(iter(self._packed)))

    def _forget(self, tool: str) -> None:
        packed = self._packed.pop(tool, None)
        if packed is not None:
            self._size -= _OVERHEAD + len(packed)

    def complaint(self, tool: str, given: bytes) -> str:
        """How the arguments violate the schema, as one line; empty where they do not, or
        where that cannot be said.

        >>> schemas = Schemas()
        >>> schemas.learn([Parameters(tool="Read", types={"path": "string"}, required=("path",))])
        >>> schemas.complaint("Read", b'{"path": 1}')
        'path is no string'
        """
        packed = self._packed.get(tool)
        if packed is None:
            return ""
        try:
            arguments = _GIVEN.decode(given)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return ""
        return "; ".join(_violations(_PACKED.decode(decompress(packed)), arguments))


def _violations(tool: Parameters, given: dict[str, object]) -> Iterator[str]:
    missing = [name for name in tool.required if name not in given]
    if missing:
        yield f"it lacks {', '.join(missing)}"
    for name, value in given.items():
        wanted = tool.types.get(name)
        if wanted is None and tool.closed:
            near = get_close_matches(name, tool.types, n=1)
            hint = f" (nearest: {near[0]})" if near else ""
            yield f"there is no {one_line(name, _SHOWN)}{hint}"
        elif wanted and not _is_a(value, wanted):
            yield f"{name} is no {wanted}"


def _is_a(value: object, wanted: str) -> bool:
    if isinstance(value, bool):
        return wanted == "boolean"
    return isinstance(value, _TYPES[wanted])
