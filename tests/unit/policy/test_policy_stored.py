"""A policy that a session keeps is the policy that comes back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.errors import PolicyError
from supervisor.policy.load import load_policy
from supervisor.policy.shipped import shipped_policies
from supervisor.policy.stored import restored_policy
from supervisor.runtime import registry

GOOD = Path(__file__).parents[2] / "fixtures" / "policies" / "good"


@pytest.mark.parametrize("source", sorted(shipped_policies()))
def test_a_shipped_policy_is_read_back_as_it_was(source: str) -> None:
    is_read_back(source, registry.detectors(), registry.actions())


@pytest.mark.parametrize("source", sorted(GOOD.glob("*.yaml")), ids=lambda source: source.stem)
def test_every_way_to_write_a_policy_is_read_back_as_it_was(
    source: Path,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> None:
    is_read_back(source, detectors, actions)


def is_read_back(
    source: Path | str,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> None:
    policy = load_policy(source, detectors=detectors, actions=actions)

    again = restored_policy(
        policy.model_dump_json(), "stored", detectors=detectors, actions=actions
    )

    assert again == policy


def test_a_detector_that_is_gone_is_left_out_and_an_action_that_is_gone_is_said() -> None:
    detectors, actions = registry.detectors(), registry.actions()
    text = load_policy("default", detectors=detectors, actions=actions).model_dump_json()
    fewer = {name: kind for name, kind in detectors.items() if name != "stall"}

    assert set(restored_policy(text, "s", detectors=fewer, actions=actions).detectors) == set(fewer)
    with pytest.raises(PolicyError, match="unknown action 'nudge'"):
        restored_policy(
            text,
            "s",
            detectors=detectors,
            actions={name: kind for name, kind in actions.items() if name != "nudge"},
        )
