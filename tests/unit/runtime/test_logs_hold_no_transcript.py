"""From the level `info` on, nothing that an agent was told, did or said is logged."""

from __future__ import annotations

import logging

import pytest

from supervisor.core.verdict import Verdict
from tests.unit.runtime.conftest import Transcript, Watch, policy_of

pytestmark = pytest.mark.anyio

MARK = "the-marked-words"


@pytest.mark.usefixtures("marker")
async def test_a_session_with_a_failure_a_fault_and_an_odd_line(
    watch: Watch, transcript: Transcript, caplog: pytest.LogCaptureFixture
) -> None:
    transcript.prompt(f"Find {MARK}.")
    for number in range(6):
        transcript.step(f"c{number}", result=f"{MARK} mark", command=f"echo {MARK}")
    transcript.lines.append(f"{MARK}: no JSON".encode())
    transcript.text(f"I found {MARK}.")
    with caplog.at_level(logging.INFO):
        watched = watch(policy_of())
        await watched.take(transcript)
        await watched.supervision.note("test", MARK)
        await watched.supervision.turn_ended()
        await watched.supervision.finish()

    assert any(isinstance(event, Verdict) for event in watched.told)
    assert caplog.records, "the fault is logged"
    assert MARK not in caplog.text
