"""Which policy a session runs under: the one that is asked for, or the one it ran under last."""

from __future__ import annotations

from pathlib import Path

from supervisor.policy.load import load_policy
from supervisor.policy.model import Policy
from supervisor.policy.stored import restored_policy
from supervisor.runtime import registry
from supervisor.settings import read_settings
from supervisor.store.interface import SessionRow

__all__ = ["chosen_policy", "policy_of"]


def chosen_policy(source: Path | str | None) -> Policy:
    """The policy of this file or name, else the settings'. Raises `PolicyError`."""
    return load_policy(
        source or read_settings().policy,
        detectors=registry.detectors(),
        actions=registry.actions(),
    )


def policy_of(session: SessionRow) -> Policy | None:
    """The policy that the session ran under last; None where it never had one. Raises
    `PolicyError` where it cannot be had here."""
    if session.policy is None:
        return None
    name = f"the policy of session {session.session_id}"
    return restored_policy(
        session.policy, name, detectors=registry.detectors(), actions=registry.actions()
    )
