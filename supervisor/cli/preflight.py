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

__all__ = ["MINIMUM_CLI", "preflight"]

MINIMUM_CLI = (2, 1, 97)
"""The oldest Claude Code with `--session-mirror`, which supervision reads the transcript
by: tried out, 2.1.96 refuses the option, and 2.1.97 plays the demo to its end."""

_SIGN_INS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
)
_IN_FILES = ("apiKeyHelper", "primaryApiKey", *_SIGN_INS)
"""What a settings file that lets the CLI sign in holds one of."""

_OFF_PATH = (
    "~/.npm-global/bin",
    "/usr/local/bin",
    "~/.local/bin",
    "~/node_modules/.bin",
    "~/.yarn/bin",
    "~/.claude/local",
)
"""Where the SDK looks for the CLI besides PATH."""

_VERSION_TIMEOUT_SECONDS = 20.0


async def preflight(options: ClaudeAgentOptions) -> None:
    """Raises `SupervisorError` where the agent could not run."""
    await _check_cli(options)
    _check_sign_in(options)


async def _check_cli(options: ClaudeAgentOptions) -> None:
    bundled = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    if options.cli_path is None and bundled.exists():
        return
    path = _executable(options)
    version = await _version(path)
    if tuple(int(part) for part in version.split(".")) < MINIMUM_CLI:
        needed = ".".join(str(part) for part in MINIMUM_CLI)
        raise SupervisorError(
            f"Claude Code {version} at {path} is too old to be supervised: update it to "
            f"{needed} or newer with 'claude update'."
        )


def _executable(options: ClaudeAgentOptions) -> str:
    places = [os.environ.get("PATH", os.defpath), *map(os.path.expanduser, _OFF_PATH)]
    asked = str(options.cli_path or "claude")
    found = shutil.which(asked, path=os.pathsep.join(places))
    if found is None:
        where = f" at {asked}" if options.cli_path else ""
        raise SupervisorError(
            f"Claude Code was not found{where}: install it with "
            "'npm install -g @anthropic-ai/claude-code', or reinstall claude-agent-sdk, "
            "whose wheels bring it along."
        )
    return found


async def _version(path: str) -> str:
    try:
        process = await asyncio.create_subprocess_exec(
            path, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError as error:
        raise SupervisorError(f"{path} cannot be run: {error.strerror}.") from error
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


def _check_sign_in(options: ClaudeAgentOptions) -> None:
    if any(os.environ.get(name) for name in _SIGN_INS) or sys.platform == "darwin":
        return  # On macOS a sign-in may be in the keychain, which is the CLI's to ask.
    given = os.environ.get("CLAUDE_CONFIG_DIR")
    config, project = Path(given or Path.home() / ".claude"), Path(options.cwd or ".") / ".claude"
    files = (
        config / "settings.json",
        (config if given else Path.home()) / ".claude.json",
        project / "settings.json",
        project / "settings.local.json",
        Path("/etc/claude-code/managed-settings.json"),
    )
    if (config / ".credentials.json").exists() or any(map(_signs_in, files)):
        return
    raise SupervisorError(
        "no way to reach a model: set ANTHROPIC_API_KEY, sign in with 'claude login', or set "
        "ANTHROPIC_BASE_URL to a server of your own. 'lucid demo' needs none of them."
    )


def _signs_in(settings: Path) -> bool:
    try:
        text = settings.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return any(f'"{name}"' in text for name in _IN_FILES)
