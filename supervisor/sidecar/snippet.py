"""What stands in an agent's settings so that it posts its hooks to a sidecar."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["EVENTS", "HOOK_SECONDS", "STOP_SECONDS", "hooks_for", "is_ours"]

EVENTS = (
    "PreToolUse",
    "PostToolUse",
    "PostToolUseFailure",
    "UserPromptSubmit",
    "Stop",
    "StopFailure",
    "SubagentStop",
    "PreCompact",
    "SessionEnd",
)
"""The events that Claude Code 2.1.330 posts by HTTP and that Lucid has a use for. It posts no
`SessionStart`: `http` is not among the kinds of hooks that it runs there."""

HOOK_SECONDS = 3
"""How long an agent waits for a sidecar that hangs, at each hook. One that is not there costs
nothing: the connection is refused at once."""

STOP_SECONDS = 60
"""The same at its stop, where the policy's checks run."""

_TIMEOUT = "Lucid-Timeout"
"""The header that says how long the CLI waits; it is also what our hooks are known by."""


def hooks_for(
    url: str,
    *,
    token: str | None = None,
    token_env: str | None = None,
    seconds: int = HOOK_SECONDS,
    stop_seconds: int = STOP_SECONDS,
) -> dict[str, dict[str, Any]]:
    """The matcher group for each event. The token is either in it, or in a variable of the
    agent's environment, `token_env`."""
    return {
        event: {
            "hooks": [_hook(url, stop_seconds if event == "Stop" else seconds, token, token_env)]
        }
        for event in EVENTS
    }


def _hook(url: str, seconds: int, token: str | None, token_env: str | None) -> dict[str, Any]:
    headers = {_TIMEOUT: str(seconds)}
    hook: dict[str, Any] = {"type": "http", "url": url, "timeout": seconds, "headers": headers}
    if token_env is not None:
        headers["Authorization"] = f"Bearer ${token_env}"
        hook["allowedEnvVars"] = [token_env]
    elif token is not None:
        headers["Authorization"] = f"Bearer {token}"
    return hook


def is_ours(group: object) -> bool:
    """Whether a matcher group of somebody's settings is one that Lucid put there."""
    hooks = group.get("hooks") if isinstance(group, Mapping) else None
    return isinstance(hooks, list) and len(hooks) == 1 and _is_our_hook(hooks[0])


def _is_our_hook(hook: object) -> bool:
    headers = hook.get("headers") if isinstance(hook, Mapping) else None
    return isinstance(headers, Mapping) and _TIMEOUT in headers
