"""YAML to `Policy`, with all faults at once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.errors import PolicyError, Problem
from supervisor.policy.document import MAX_BYTES, Document, read_document, too_large, whole_file
from supervisor.policy.faults import place_of, unknown
from supervisor.policy.model import Plugins, Policy
from supervisor.policy.shipped import shipped_policies, shipped_policy

__all__ = ["load_policy", "parse_policy"]


def load_policy(
    source: Path | str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Policy:
    """Read a policy: a file's path, or the name of a shipped one such as `"default"`.

    Text with a `/` or an ending such as `.yaml` is a path. Raises `PolicyError` with
    every fault, in file order; a file that cannot be read is one.
    """
    path = _find(source)
    return parse_policy(_read(path), str(path), detectors=detectors, actions=actions)


def parse_policy(
    text: str,
    file: str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Policy:
    """Read a policy from `text`; `file` is what its problems call it.

    Raises `PolicyError` with every fault, in file order. A syntax error hides what
    comes after it, and rules are compared with each other once each is sound.
    """
    document = read_document(text, file)
    problems = list(document.problems)
    policy = None
    try:
        policy = Policy.model_validate(document.data, context=Plugins(detectors, actions))
    except ValidationError as error:
        problems += _problems(document, error)
    if policy is None or problems:
        raise PolicyError(sorted(problems, key=lambda problem: (problem.line, problem.column)))
    return policy


def _problems(document: Document, error: ValidationError) -> list[Problem]:
    return [
        document.problem(details["loc"], place_of(details), details["ctx"]["reason"])
        for details in error.errors(include_url=False)
    ]


def _find(source: Path | str) -> Path:
    if isinstance(source, Path):
        return source
    if source in shipped_policies():
        return shipped_policy(source)
    if "/" in source or Path(source).suffix:
        return Path(source)
    raise whole_file(source, unknown("shipped policy", source, shipped_policies()))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise whole_file(str(path), f"cannot be read: {error.strerror or error}") from None
    if len(raw) > MAX_BYTES:
        raise too_large(str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = raw[: error.start].decode("utf-8-sig")
        line, column = before.count("\n"), len(before) - before.rfind("\n") - 1
        reason = f"the byte 0x{raw[error.start]:02X} is not UTF-8; save the file as UTF-8"
        raise whole_file(str(path), reason, line + 1, column + 1) from None
