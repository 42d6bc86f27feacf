"""What must be there before an agent is started, each lack said in one sentence."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions

from supervisor.errors import SupervisorError

__all__ = ["preflight"]

MINIMUM_CLI = (2, 1, 0)
"""The oldest Claude Code that mirrors its transcript as Lucid needs it."""

_SIGN_INS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
_VERSION_TIMEOUT_SECONDS = 20.0


async def preflight(options: ClaudeAgentOptions) -> None:
    """Raises `SupervisorError` where the agent could not run."""
    await _check_cli(options)
    _check_sign_in()


async def _check_cli(options: ClaudeAgentOptions) -> None:
    bundled = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    if options.cli_path is None and bundled.exists():
        return
    path = str(options.cli_path) if options.cli_path is not None else shutil.which("claude")
    if path is None or shutil.which(path) is None:
        raise SupervisorError(
            f"Claude Code was not found{f' at {path}' if path else ''}: install it with "
            "'npm install -g @anthropic-ai/claude-code', or reinstall claude-agent-sdk, "
            "whose wheels bring it along."
        )
    version = await _version(path)
    found = tuple(int(part) for part in version.split("."))
    if found < MINIMUM_CLI:
        needed = ".".join(str(part) for part in MINIMUM_CLI)
        raise SupervisorError(
            f"Claude Code {version} at {path} is too old to be supervised: update it to "
            f"{needed} or newer with 'claude update'."
        )


async def _version(path: str) -> str:
    process = await asyncio.create_subprocess_exec(
        path, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(_VERSION_TIMEOUT_SECONDS):
            output, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        output = b""
    match = re.search(r"\d{1,6}\.\d{1,6}\.\d{1,6}", output.decode(errors="replace"))
    if match is None:
        raise SupervisorError(f"{path} --version names no version: it is not Claude Code.")
    return match[0]


def _check_sign_in() -> None:
    if any(os.environ.get(name) for name in _SIGN_INS) or sys.platform == "darwin":
        return  # On macOS a sign-in may be in the keychain, which is the CLI's to ask.
    config = Path(os.environ.get("CLAUDE_CONFIG_DIR") or Path.home() / ".claude")
    if (config / ".credentials.json").exists() or _has_key_helper(config / "settings.json"):
        return
    raise SupervisorError(
        "no way to reach a model: set ANTHROPIC_API_KEY, sign in with 'claude login', or set "
        "ANTHROPIC_BASE_URL to a server of your own. 'lucid demo' needs none of them."
    )


def _has_key_helper(settings: Path) -> bool:
    try:
        return '"apiKeyHelper"' in settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
