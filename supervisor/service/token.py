"""The token that clients of the service show: given, or made once and kept. Agents get
another, made from it, that is good for their hooks alone."""

from __future__ import annotations

import hmac
import os
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from supervisor.errors import SupervisorError
from supervisor.settings import Settings

__all__ = ["SHORTEST", "Token", "find_token", "hooks_token"]

SHORTEST = 16
"""Characters. Nobody guesses that many over a network."""

_WRITTEN = re.compile(r"[A-Za-z0-9._~+/=-]+")
"""What a bearer token may be written with (RFC 6750); all of it passes in a URL path but `/`."""


def hooks_token(token: str) -> str:
    """The token of the agents, which is made from the service's and does not tell it: whoever
    has it can post hooks, and look at nothing."""
    return hmac.new(token.encode(), b"lucid hooks", "sha256").hexdigest()


class Token(NamedTuple):
    """The token, and where it comes from. Printing one does not show it."""

    value: str
    source: str
    """For a person: a file, or the environment."""
    given: bool
    """Somebody chose it, so others may know it; else it was drawn on this host."""

    def __repr__(self) -> str:
        return f"Token(source={self.source!r})"


def find_token(settings: Settings, file: Path | None = None) -> Token:
    """The token in `file`, else the settings' (`LUCID_TOKEN`, `LUCID_TOKEN_FILE`), else the
    one in the user's data folder, which is drawn and kept there, for the user's eyes only,
    where there is none.

    Raises `SupervisorError` for a token that is too short or cannot be written in a header.
    """
    if file is None and settings.token is not None:
        value = settings.token.get_secret_value()
        return Token(_checked(value, "LUCID_TOKEN"), "LUCID_TOKEN", given=True)
    given = file or settings.token_file
    if given is not None:
        return Token(_read(given), str(given), given=True)
    kept = settings.own_token_file
    _keep(kept)
    return Token(_read(kept), str(kept), given=False)


def _keep(path: Path) -> None:
    """Draw a token and keep it in `path`, unless one is there."""
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
            out.write(f"{secrets.token_urlsafe(32)}\n")
        try:
            os.link(draft, path)  # whole or not at all, and never over another process's
        except FileExistsError:
            pass
        finally:
            draft.unlink()
    except OSError as error:
        raise SupervisorError(
            f"no token can be kept at {path}: {error.strerror}. Give one with --token-file, or "
            "in LUCID_TOKEN."
        ) from error


def _read(path: Path) -> str:
    try:
        with path.open(encoding="ascii") as lines:
            value = lines.read(4096).strip()
    except OSError as error:
        raise SupervisorError(f"the token file {path} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise SupervisorError(f"the token file {path} holds more than ASCII.") from error
    return _checked(value, str(path))


def _checked(value: str, source: str) -> str:
    if len(value) < SHORTEST:
        raise SupervisorError(
            f"the token in {source} has {len(value)} characters: give it {SHORTEST} or more, "
            "such as 'openssl rand -hex 32' prints."
        )
    if not _WRITTEN.fullmatch(value):
        raise SupervisorError(
            f"the token in {source} cannot be sent in a header: write it with letters, digits "
            "and . _ ~ + / = - only."
        )
    return value
