"""Forks: a transcript cut at a checkpoint, written where the agent will look for it.

The fork is made from the stored transcript, which holds everything that was ever
written, so the cut may lie before a compaction.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import cast

from claude_agent_sdk import (
    ClaudeAgentOptions,
    SessionKey,
    SessionStore,
    SessionStoreEntry,
    fork_session_via_store,
)

from supervisor.core.checkpoint import Checkpoint
from supervisor.errors import ActionError
from supervisor.runtime.chain import joined
from supervisor.runtime.masking import with_results_masked
from supervisor.runtime.mirror import Take
from supervisor.store.codec import decode
from supervisor.store.interface import Store

__all__ = ["fork_at", "local_transcript"]


class _ForkStore:
    """Gives the SDK the transcript to fork, and takes the fork; no more is asked of it."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        project_key: str,
        store: Store,
        take: Take,
        masked: Collection[int],
    ) -> None:
        self._checkpoint = checkpoint
        self._project_key = project_key
        self._store = store
        self._take = take
        self._masked = masked
        self.written: list[SessionStoreEntry] = []

    async def load(self, key: SessionKey) -> list[SessionStoreEntry] | None:
        # By session: the transcript may have been written in another folder or host.
        stored = self._store.entries(
            self._checkpoint.session_id, transcript=self._checkpoint.transcript
        )
        entries = [
            with_results_masked(entry.seq, there) if entry.seq in self._masked else there
            async for entry in stored
            if not entry.subpath and (there := decode(entry.raw)) is not None
        ]
        return joined(entries)

    async def append(self, key: SessionKey, entries: list[SessionStoreEntry]) -> None:
        await self._take({**key, "project_key": self._project_key}, entries)
        self.written.extend(entries)


async def fork_at(
    checkpoint: Checkpoint,
    *,
    project_key: str,
    store: Store,
    options: ClaudeAgentOptions,
    take: Take,
    masking: Collection[int] = (),
) -> str:
    """Fork the checkpoint's transcript after it, into the project `project_key`; returns
    the fork's SDK session id. What tools returned in the entries `masking` is left out.

    `take` receives the fork's entries. With no session store of the caller's, the fork
    also becomes a local transcript file, from which the CLI resumes with all of the
    user's configuration. Raises `ActionError` where the fork cannot be made.
    """
    target = _ForkStore(checkpoint, project_key, store, take, masking)
    try:
        fork = await fork_session_via_store(
            cast("SessionStore", target),
            checkpoint.transcript,
            directory=str(options.cwd) if options.cwd is not None else None,
            up_to_message_id=checkpoint.uuid,
        )
        if options.session_store is None:
            path = local_transcript(project_key, fork.session_id, options.env)
            _write_lines(path, target.written)
    except (OSError, ValueError) as error:
        raise ActionError(f"cannot fork at entry {checkpoint.seq}: {error}") from error
    return fork.session_id


def local_transcript(project_key: str, sdk_session_id: str, env: Mapping[str, str]) -> Path:
    """Where the CLI, run with `env`, keeps a main transcript."""
    config = env.get("CLAUDE_CONFIG_DIR") or os.environ.get("CLAUDE_CONFIG_DIR")
    root = Path(config) if config else Path.home() / ".claude"
    return root / "projects" / project_key / f"{sdk_session_id}.jsonl"


def _write_lines(path: Path, entries: list[SessionStoreEntry]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        for entry in entries:
            file.write(json.dumps(entry, separators=(",", ":")) + "\n")
