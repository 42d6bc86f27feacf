"""YAML to `Policy`, with all faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.errors import PolicyError, Problem
from supervisor.policy.faults import place_of
from supervisor.policy.include import Sources, find_policy, read_text
from supervisor.policy.model import Plugins, Policy

__all__ = ["Loaded", "load_policy", "parse_policy", "read_policy"]


class Loaded(NamedTuple):
    """A policy and the files that it was read from, its own first."""

    policy: Policy
    files: tuple[Path, ...]


def load_policy(
    source: Path | str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Policy:
    """Read a policy: a file's path, or the name of a shipped one such as `"default"`.

    Text with a `/` or an ending such as `.yaml` is a path. Raises `PolicyError` with
    every fault, file by file and in file order; a file that cannot be read is one.
    """
    return read_policy(source, detectors=detectors, actions=actions).policy


def read_policy(
    source: Path | str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Loaded:
    """As `load_policy`, with the files that were read."""
    path = find_policy(source)
    sources = Sources(read_text(path), str(path))
    policy = _policy(sources, Plugins(detectors, actions))
    return Loaded(policy, tuple(map(Path, sources.files)))


def parse_policy(
    text: str,
    file: str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Policy:
    """Read a policy from `text`; `file` is what its problems call it, and where the paths
    that it includes begin.

    Raises `PolicyError` with every fault, in file order. A syntax error hides what
    comes after it, and rules are compared with each other once each is sound.
    """
    return _policy(Sources(text, file), Plugins(detectors, actions))


def _policy(sources: Sources, plugins: Plugins) -> Policy:
    problems = list(sources.problems)
    policy = None
    try:
        policy = Policy.model_validate(sources.data, context=plugins)
    except ValidationError as error:
        problems += _problems(sources, error)
    if policy is None or problems:
        raise PolicyError(sorted(problems, key=sources.order))
    return policy


def _problems(sources: Sources, error: ValidationError) -> list[Problem]:
    return [
        sources.problem(details["loc"], place_of(details), details["ctx"]["reason"])
        for details in error.errors(include_url=False)
    ]
