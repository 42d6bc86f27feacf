"""Names that a checkpoint leaves out, wherever they stand, unless git tracks them.

Checkpoints travel into the session's store and to other hosts: secrets must not. What a
tool can make again would only be bulk. Patterns are those of a `.gitignore`.
"""

from __future__ import annotations

__all__ = ["LEFT_OUT", "RULES_FILE", "rules_file_beside"]

RULES_FILE = b".gitignore"
"""The name of the files that say what is ignored."""

_SECRETS = (
    ".env",
    ".env.*",
    ".envrc",
    "*.pem",
    "*.key",
    "*.p12",
    "*.pfx",
    "*.jks",
    "*.keystore",
    "*.kdbx",
    "id_rsa*",
    "id_dsa*",
    "id_ecdsa*",
    "id_ed25519*",
    ".netrc",
    ".npmrc",
    ".pypirc",
    ".pgpass",
    ".git-credentials",
    ".ssh/",
    ".gnupg/",
    ".aws/",
    ".azure/",
    ".kube/",
)

_BULK = (
    "node_modules/",
    ".venv/",
    "venv/",
    "__pycache__/",
    "*.pyc",
    ".tox/",
    ".nox/",
    ".mypy_cache/",
    ".pytest_cache/",
    ".ruff_cache/",
    ".hypothesis/",
    ".cache/",
    ".gradle/",
    ".terraform/",
    ".next/",
    ".DS_Store",
)

LEFT_OUT: tuple[str, ...] = _SECRETS + _BULK
"""None of them lets anything through that a `.gitignore` would not."""


def rules_file_beside(path: bytes) -> bytes:
    """Where the rules stand in a file's folder.

    >>> rules_file_beside(b"src/a.py"), rules_file_beside(b"a.py")
    (b'src/.gitignore', b'.gitignore')
    """
    folder, slash, _ = path.rpartition(b"/")
    return folder + slash + RULES_FILE
