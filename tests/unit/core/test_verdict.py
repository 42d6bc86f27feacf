"""A verdict's id: unique in its session, and the same on replay."""

from __future__ import annotations

import msgspec

from supervisor.core.verdict import Verdict
from tests.unit.core.conftest import verdict


def test_the_same_finding_has_the_same_id() -> None:
    again = verdict(confidence=0.5, summary="put in other words", transcript="a fork")

    assert verdict().id == again.id == "9/loop/k"


def test_whatever_makes_it_another_finding_makes_another_id() -> None:
    ids = {
        verdict().id,
        verdict(seq=10).id,
        verdict(agent_id="a1").id,
        verdict(agent_id="a2").id,
        verdict(detector="text_loop").id,
        verdict(key="another").id,
    }
    assert len(ids) == 6


def test_it_outlives_a_round_through_the_store() -> None:
    found = verdict(agent_id="a1", facts={"steps": ("Read", "Grep"), "times": 3, "share": 0.5})
    stored = msgspec.json.encode(found)

    assert msgspec.json.decode(stored, type=Verdict) == found
