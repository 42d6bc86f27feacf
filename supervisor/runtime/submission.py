"""`Submission`: how a session's agent is to be run, kept with the session, so that any
worker can run it. Who only submits does not wait for the Agent SDK."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from uuid import uuid4

import msgspec

from supervisor.core.session import SessionState
from supervisor.errors import SupervisorError
from supervisor.ingest.project import project_key
from supervisor.policy.model import Policy
from supervisor.store.interface import SessionRow, Store

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions

__all__ = ["Submission", "new_session"]

PermissionMode = Literal["default", "acceptEdits", "plan", "bypassPermissions", "dontAsk", "auto"]


class Submission(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for when a session was submitted; None leaves it to Claude Code."""

    by: Literal["submit", "run"] = "submit"
    """Who was to run it first: a worker, or the command itself."""
    priority: int = 0
    """Workers take the highest first."""
    model: str | None = None
    model_since: datetime | None = None
    """When a person chose the model for a session that was under way; actions that switched
    it before do not hold any more."""
    max_turns: int | None = None
    max_budget_usd: float | None = None
    allow: tuple[str, ...] = ()
    """Tools that may be used unasked."""
    permission_mode: PermissionMode | None = None
    mcp_config: str | None = None
    """A file. Only its path is kept: what it says may be secret."""
    system_prompt: str | None = None
    labels: dict[str, str] = {}
    """What the policy's rules may ask for."""

    @classmethod
    def of(cls, session: SessionRow) -> Submission | None:
        """A session's submission; None where a program of its own runs it. Raises
        `SupervisorError` for one that cannot be read."""
        if session.submission is None:
            return None
        try:
            return msgspec.json.decode(session.submission, type=cls)
        except msgspec.MsgspecError as error:
            raise SupervisorError(
                f"the submission of session {session.session_id!r} cannot be read: {error}; "
                "another version of Lucid may have made it"
            ) from error

    @property
    def text(self) -> str:
        """As it is stored."""
        return msgspec.json.encode(self).decode()

    def changed_by(self, other: Submission) -> Submission:
        """With what `other` asks for in place of what stands here."""
        nothing = Submission()
        given = {
            name: getattr(other, name)
            for name in self.__struct_fields__
            if getattr(other, name) != getattr(nothing, name)
        }
        return msgspec.structs.replace(self, **given)

    def options(self, cwd: Path | None) -> ClaudeAgentOptions:
        """Options for an agent that works in `cwd`. Raises `SupervisorError` where a file
        that they need is not on this host."""
        if self.mcp_config is not None and not Path(self.mcp_config).is_file():
            raise SupervisorError(
                f"the MCP configuration {self.mcp_config} is not on this host: put it there, or "
                "name another with 'lucid resume --mcp-config'"
            )
        from claude_agent_sdk import ClaudeAgentOptions
        from claude_agent_sdk.types import SystemPromptPreset

        # The SDK's None is an agent without a system prompt; here it is Claude Code's own.
        own = SystemPromptPreset(type="preset", preset="claude_code")
        options = ClaudeAgentOptions(
            model=self.model,
            max_turns=self.max_turns,
            max_budget_usd=self.max_budget_usd,
            cwd=cwd,
            allowed_tools=list(self.allow),
            permission_mode=self.permission_mode,
            system_prompt=own if self.system_prompt is None else self.system_prompt,
        )
        if self.mcp_config is None:
            return options
        return replace(options, mcp_servers=Path(self.mcp_config))


async def new_session(
    store: Store,
    objective: str,
    submission: Submission,
    policy: Policy,
    *,
    cwd: Path | None,
    state: SessionState,
) -> SessionRow:
    """Write a session down that is yet to begin, in `cwd` or here."""
    return await store.create_session(
        str(uuid4()),
        project_key=project_key(cwd),
        objective=objective,
        cwd=str(cwd or Path.cwd()),
        policy=policy.model_dump_json(),
        submission=submission.text,
        state=state,
    )
