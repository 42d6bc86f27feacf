"""Policies on the end of a turn, and on whom to tell, with the actions that Lucid ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import PolicyError
from supervisor.policy.load import load_policy
from supervisor.runtime import registry

BAD = Path(__file__).parents[2] / "fixtures" / "policies" / "bad_for_actions"


@pytest.mark.parametrize("file", sorted(BAD.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_fault_is_told_with_its_place(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    with pytest.raises(PolicyError) as raised:
        load_policy(Path(file.name), detectors=registry.detectors(), actions=registry.actions())

    assert str(raised.value) + "\n" == file.with_suffix(".txt").read_text()
