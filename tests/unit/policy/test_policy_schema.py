"""The JSON Schema takes what Lucid takes, and the copy in the documentation is up to date."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped] # it has no types
import pytest

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.policy.document import read_document
from supervisor.policy.schema import policy_schema
from supervisor.policy.shipped import shipped_policies, shipped_policy
from supervisor.runtime import registry

ROOT = Path(__file__).parents[3]
FIXTURES = ROOT / "tests" / "fixtures" / "policies"
GOOD = sorted((FIXTURES / "good").rglob("*.yaml"))


def read(path: Path) -> Any:
    return read_document(path.read_text(encoding="utf-8-sig"), str(path)).data


@pytest.fixture(scope="module")
def schema(
    detectors: Mapping[str, type[Detector]], actions: Mapping[str, type[Action]]
) -> dict[str, Any]:
    return policy_schema(detectors, actions)


def test_the_copy_in_the_documentation_is_what_the_command_prints() -> None:
    """If not: `lucid policy schema > docs/policy.schema.json`."""
    kept = json.loads((ROOT / "docs" / "policy.schema.json").read_text(encoding="utf-8"))

    assert kept == policy_schema(registry.detectors(), registry.actions())


def test_it_is_a_schema(schema: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_it_takes_every_way_to_write_a_policy(path: Path, schema: dict[str, Any]) -> None:
    jsonschema.validate(read(path), schema)


@pytest.mark.parametrize("name", shipped_policies())
def test_it_takes_the_shipped_policies(name: str) -> None:
    schema = policy_schema(registry.detectors(), registry.actions())

    jsonschema.validate(read(shipped_policy(name)), schema)


@pytest.mark.parametrize(
    "name",
    ["unknown-keys", "unknown-names", "wrong-types", "conditions", "bad-durations", "out-of-range"],
)
def test_it_refuses_what_an_editor_can_see(name: str, schema: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(read(FIXTURES / "bad" / f"{name}.yaml"), schema)


def test_it_tells_what_keys_are_for(schema: dict[str, Any]) -> None:
    agent = schema["$defs"]["Rule"]["properties"]["agent"]

    assert agent["description"].startswith("`main`, `subagents`, or a pattern")
