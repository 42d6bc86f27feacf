"""`Mirror`: the session store that one client's SDK sees.

What the SDK mirrors goes to Lucid's store and is judged, and then to the caller's own
store, if the options name one. What it loads to resume comes from where it would come
from without Lucid: the caller's store, or else the local transcript file.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import cast

from claude_agent_sdk import (
    ClaudeAgentOptions,
    SessionKey,
    SessionListSubkeysKey,
    SessionStore,
    SessionStoreEntry,
    SessionStoreListEntry,
)

__all__ = ["Mirror"]

Take = Callable[[SessionKey, list[SessionStoreEntry]], Awaitable[None]]


class Mirror:
    """Tees the SDK's transcript mirror; see the module.

    It has those methods of a `SessionStore` that the SDK asks of a running agent's.
    """

    def __init__(self, take: Take, callers: SessionStore | None) -> None:
        self._take = take
        self._callers = callers
        self._taken: list[SessionStoreEntry] | None = None

    def of(self, options: ClaudeAgentOptions) -> ClaudeAgentOptions:
        """The options with this mirror in place of the caller's session store."""
        if options.enable_file_checkpointing and options.session_store is None:
            # The SDK refuses checkpoints beside any session store; they work within one
            # process, so ask the CLI for them as the SDK would.
            env = {**options.env, "CLAUDE_CODE_ENABLE_SDK_FILE_CHECKPOINTING": "true"}
            options = replace(options, enable_file_checkpointing=False, env=env)
        store = cast("SessionStore", self)  # duck-typed, as the SDK allows
        return replace(options, session_store=store, session_store_flush="eager")

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        """Store and judge, then pass on. The SDK repeats a call that raises, with the
        same list: what was taken already is not taken twice."""
        if entries is not self._taken:
            await self._take(key, entries)
            self._taken = entries
        if self._callers is not None:
            await self._callers.append(key, entries)

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        """The caller's copy; None sends the SDK to the local file."""
        return None if self._callers is None else await self._callers.load(key)

    async def list_sessions(self, project_key: str) -> list[SessionStoreListEntry]:
        """The caller's sessions; none sends the SDK to the local files."""
        return [] if self._callers is None else await self._callers.list_sessions(project_key)

    async def list_subkeys(self, key: SessionListSubkeysKey) -> list[str]:
        """The caller's subagent transcripts."""
        if self._callers is None or not _has(self._callers, "list_subkeys"):
            return []
        return await self._callers.list_subkeys(key)


def _has(store: SessionStore, method: str) -> bool:
    own = cast("object", getattr(type(store), method, None))
    return own is not None and own is not getattr(SessionStore, method)
