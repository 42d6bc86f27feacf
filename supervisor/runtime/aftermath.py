"""What a conversation that is rolled back leaves behind: calls that are not undone.

Their results leave the model's sight with the rolled back part, so it is told of them.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from supervisor.core.checkpoint import Checkpoint
from supervisor.core.entry import LUCID_MARKER, ToolCall
from supervisor.core.feedback import quote
from supervisor.core.intent import Intent
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.store.interface import Store, StoredEntry

__all__ = ["Aftermath", "aftermath_of", "calls_not_undone", "may_write", "with_postscript"]

_NAMED = 20
"""Calls that are named: a prompt is no place for more."""
_ARGUMENTS = 160  # characters

_ONLY_READ = frozenset(
    {
        "AskUserQuestion",
        "BashOutput",
        "EnterPlanMode",
        "ExitPlanMode",
        "Glob",
        "Grep",
        "KillShell",
        "LS",
        "LSP",
        "ListMcpResourcesTool",
        "NotebookRead",
        "Read",
        "ReadMcpResourceTool",
        "TaskCreate",
        "TaskGet",
        "TaskList",
        "TaskOutput",
        "TaskStop",
        "TaskUpdate",
        "TodoRead",
        "TodoWrite",
        "ToolSearch",
        "WebFetch",
        "WebSearch",
        # A subagent's own calls come by one by one.
        "Agent",
        "Task",
    }
)
_WRITE_ONE_FILE = frozenset({"Edit", "MultiEdit", "NotebookEdit", "Write"})
_TELLING = ("command", "file_path", "notebook_path", "url")
"""Arguments that say by themselves what a call does."""


def may_write(tool: str) -> bool:
    """Whether a call of this tool may change files, or anything else. A tool that is not
    known may."""
    return tool not in _ONLY_READ


@dataclass(frozen=True)
class Aftermath:
    """The calls that may have written and that a rollback leaves behind."""

    calls: tuple[Intent, ...]
    after_call: str | None
    """The last call that may have written before the first of `calls`."""


async def aftermath_of(store: Store, checkpoint: Checkpoint) -> Aftermath:
    """What was begun after a checkpoint, or was left behind by an earlier rollback to a
    place after it.

    Intents are in the order of the calls, over all of a session's transcripts. What came
    after the last of the main agent's that the checkpoint keeps is not in the model's sight.
    """
    kept, kept_of_main = await _calls_kept(store, checkpoint)
    intents = await store.intents(checkpoint.session_id)
    last = max(
        (n for n, intent in enumerate(intents) if intent.call_id in kept_of_main), default=-1
    )
    writing = [(n, intent) for n, intent in enumerate(intents) if may_write(intent.tool)]
    since = [(n, intent) for n, intent in writing if n > last and intent.call_id not in kept]
    first = since[0][0] if since else len(intents)
    before = [intent.call_id for n, intent in writing if n < first]
    return Aftermath(tuple(intent for _, intent in since), before[-1] if before else None)


async def _calls_kept(store: Store, checkpoint: Checkpoint) -> tuple[set[str], set[str]]:
    """The calls up to the checkpoint: of all agents, and of the main one."""
    kept: set[str] = set()
    of_main: set[str] = set()
    async for stored in store.entries(checkpoint.session_id, transcript=checkpoint.transcript):
        if stored.seq > checkpoint.seq:
            break
        calls = _calls_in(stored)
        kept |= calls
        if stored.agent_id is None:
            of_main |= calls
    return kept, of_main


def _calls_in(stored: StoredEntry) -> set[str]:
    if b"tool_use" not in stored.raw:  # most entries are spared being read
        return set()
    reader = TranscriptReader(stored.session_id, stored.transcript, stored.agent_id)
    entries = reader.read(stored.raw, stored.seq)
    return {entry.call_id for entry in entries if isinstance(entry, ToolCall)}


def calls_not_undone(calls: Sequence[Intent], restored: Path | None) -> str:
    """The calls by name and argument, bounded and quoted; empty where there are none.
    Those that wrote one file each are left out in the folder that was `restored`."""
    named = Counter(_said(call) for call in calls if not _is_undone(call, restored))
    if not named:
        return ""
    beyond = "beyond those files " if restored is not None else ""
    lines = [
        f"- {said}" + (f" ({count} times)" if count > 1 else "")
        for said, count in list(named.items())[:_NAMED]
    ]
    more = [f"- and {len(named) - _NAMED} more"] if len(named) > _NAMED else []
    title = (
        f"You made these calls since, and what they did {beyond}is not undone. Check it before "
        "you rely on it, and do not repeat what is done:"
    )
    return "\n".join([title, *lines, *more])


def _is_undone(call: Intent, restored: Path | None) -> bool:
    if restored is None or call.tool not in _WRITE_ONE_FILE:
        return False
    path = _argument(call, ("file_path", "notebook_path"))
    return path is not None and Path(os.path.normpath(restored / path)).is_relative_to(restored)


def _said(call: Intent) -> str:
    by = ", by a subagent of yours" if call.agent_id else ""
    given = _argument(call, _TELLING) or bytes(call.input).decode(errors="replace")
    return f"{quote(call.tool, 80)}{by}: {quote(given, _ARGUMENTS)}"


def _argument(call: Intent, names: Iterable[str]) -> str | None:
    try:
        given = msgspec.json.decode(call.input, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return next((value for name in names if isinstance(value := given.get(name), str)), None)


def with_postscript(text: str, more: str) -> str:
    """A prompt of Lucid's with a further paragraph.

    >>> print(with_postscript("<lucid>\\nGo on.\\n</lucid>", "Files were set back."))
    <lucid>
    Go on.
    Files were set back.
    </lucid>
    """
    if not more:
        return text
    end = LUCID_MARKER.replace("<", "</")
    return f"{text.removesuffix(end).rstrip()}\n{more}\n{end}"
