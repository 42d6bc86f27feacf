"""The environment in which a CLI talks to the scripted model and to nobody else."""

from __future__ import annotations

from pathlib import Path

__all__ = ["cli_env"]

_QUIET = {
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
    "DISABLE_AUTOUPDATER": "1",
    "DISABLE_ERROR_REPORTING": "1",
    "DISABLE_TELEMETRY": "1",
}

# The SDK lays its `env` over the caller's, so what would lead the CLI elsewhere, or
# give it another identity, has to be blanked; it takes an empty value for an absent one.
_BLANKED = (
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_MODEL",
    "ANTHROPIC_SMALL_FAST_MODEL",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_VERTEX",
)


def cli_env(base_url: str, home: Path) -> dict[str, str]:
    """Variables for a CLI that uses the model at `base_url` and keeps its files in `home`.

    Transcripts, settings and caches go below `home` alone. Pass the result as `env` of
    `ClaudeAgentOptions`, or lay it over `os.environ`. Telemetry, updates and every
    other route to a model are off, and the API key is a dummy.
    """
    home = home.absolute()  # the CLI may run elsewhere
    return {
        "ANTHROPIC_BASE_URL": base_url,
        "ANTHROPIC_API_KEY": "scripted-model",
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        # As root, the CLI refuses `bypassPermissions` unless told that it is sandboxed.
        "IS_SANDBOX": "1",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        **_QUIET,
        **dict.fromkeys(_BLANKED, ""),
    }
