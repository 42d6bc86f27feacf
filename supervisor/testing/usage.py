"""Plausible token counts: figures to compare runs of one scenario with, not to bill by.

A token is taken for four characters of JSON, a common rule of thumb for English text.
Where the request asks for caching, a prefix of messages that was sent before counts as
read from the cache, and the rest up to the last cache mark as written to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import msgspec

from supervisor.testing.request import Block, Request, as_blocks
from supervisor.testing.scenario import Reply, UsageOverride

__all__ = ["PromptCache", "Usage", "estimate_input", "estimate_output"]

_CHARACTERS_PER_TOKEN = 4
# With everything cached, the service still counts a few tokens of its own as fresh.
_NEVER_CACHED = 3


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Token counts of one reply, named as in the API."""

    input_tokens: int
    output_tokens: int
    cache_read_input_tokens: int = 0
    cache_creation_input_tokens: int = 0

    def overridden(self, override: UsageOverride) -> Usage:
        """With the counts that a scenario sets itself."""
        return msgspec.structs.replace(self, **override.model_dump(exclude_none=True))


class PromptCache:
    """Remembers the prefixes it has seen; one digest a message."""

    def __init__(self) -> None:
        self._seen: set[bytes] = set()

    def usage(self, request: Request, reply: Reply) -> Usage:
        """Tokens of answering `request` with `reply`, the scenario's own figures first."""
        return self._estimate(request, reply).overridden(reply.usage)

    def _estimate(self, request: Request, reply: Reply) -> Usage:
        output = estimate_output(reply)
        parts = _parts(request)
        marked = _last_mark(request)
        if marked is None:
            return Usage(input_tokens=_tokens(parts), output_tokens=output)
        cacheable, rest = parts[: marked + 1], parts[marked + 1 :]
        known = self._known(cacheable)
        return Usage(
            input_tokens=_tokens(rest) + _NEVER_CACHED,
            output_tokens=output,
            cache_read_input_tokens=_tokens(cacheable[:known]),
            cache_creation_input_tokens=_tokens(cacheable[known:]),
        )

    def _known(self, parts: list[bytes]) -> int:
        """How many leading parts were sent before; from now on, all of them were."""
        known, prefix = 0, hashlib.sha256()
        for index, part in enumerate(parts):
            prefix.update(part)
            digest = prefix.digest()
            if digest in self._seen:
                known = index + 1
            self._seen.add(digest)
        return known


def estimate_input(request: Request) -> int:
    """Tokens of everything the request puts before the model."""
    return _tokens(_parts(request))


def estimate_output(reply: Reply) -> int:
    """Tokens of what the model writes."""
    calls = [msgspec.json.encode([call.tool, call.input]) for call in reply.calls]
    written = (text.encode() for text in (reply.thinking, reply.text) if text)
    return _tokens([*written, *calls])


def _tokens(parts: Iterable[bytes]) -> int:
    return -(-sum(len(part) for part in parts) // _CHARACTERS_PER_TOKEN)


def _parts(request: Request) -> list[bytes]:
    """The request in the order it is cached: tools and system prompt, then each message.

    The same message is sometimes sent as text and sometimes as a marked block, so both
    are brought to one form."""
    head = b"".join(bytes(tool) for tool in request.tools) + _bytes(as_blocks(request.system))
    return [head, *(_bytes(message.blocks) for message in request.messages)]


def _bytes(blocks: list[Block]) -> bytes:
    return msgspec.json.encode([_plain(block) for block in blocks])


def _plain(block: Block) -> tuple[object, ...]:
    content = [_plain(part) for part in as_blocks(block.content)]
    return (block.type, block.text or block.thinking, block.name, block.input or "", content)


def _last_mark(request: Request) -> int | None:
    """Index of the last part with a cache mark, or None where nothing is to be cached."""
    marked = [
        index
        for index, blocks in enumerate(
            [as_blocks(request.system), *(message.blocks for message in request.messages)]
        )
        if any(block.cache_control for block in blocks)
    ]
    return marked[-1] if marked else None
