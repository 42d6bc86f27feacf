"""A stored session judged again: the verdicts that were found live, and no others."""

from __future__ import annotations

import pytest

from supervisor.core.verdict import Verdict
from supervisor.runtime.replay import replay
from supervisor.store.interface import Store
from tests.unit.runtime.conftest import Transcript, Watch, policy_of

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("marker")]


async def replayed(store: Store) -> list[Verdict]:
    session = await store.session("s")
    return [verdict async for judged in replay(store, session) for verdict in judged.verdicts]


def eventful(transcript: Transcript) -> Transcript:
    """A loop, an invented tool, and what the marker finds."""
    transcript.prompt()
    for number in range(4):
        transcript.step(f"loop {number}", "the same", command="cat build.log")
    for number in range(2):
        transcript.call(f"phantom {number}", "SearchLogs")
        error = "<tool_use_error>Error: No such tool available: SearchLogs</tool_use_error>"
        transcript.result(f"phantom {number}", error, is_error=True)
    transcript.text("FAIL:one FAIL:two UNFINISHED")
    return transcript


async def test_a_replay_finds_what_was_found_live(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    watched = watch()
    await watched.take(eventful(transcript))
    await watched.supervision.finish()

    modes = [verdict.failure_mode for verdict in watched.verdicts]
    assert {"loop", "hallucinated_tool", "drift"} == set(modes)
    assert await replayed(store) == watched.verdicts == await store.verdicts("s")


async def test_also_after_subagents_a_fork_and_a_restart(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    before = watch()
    await before.take(eventful(transcript))
    sub = Transcript(agent_id="sub")
    await before.take(eventful(sub))
    fork = eventful(Transcript("22222222-2222-4222-8222-222222222222"))
    await before.supervision.take(fork.key, fork.lines[:7], inherited=True)

    after = watch()
    await after.supervision.prime(fork.sdk_session_id)
    await after.take(fork, *fork.lines[7:])
    await after.supervision.finish()

    assert after.verdicts
    # Only the last process could ask for a last word, and it knew the fork alone.
    again = [verdict for verdict in await replayed(store) if verdict.key != "unfinished"]
    live = [verdict for verdict in before.verdicts + after.verdicts if verdict.key != "unfinished"]
    assert again == live


async def test_a_replay_runs_detectors_as_the_session_did(
    watch: Watch, store: Store, transcript: Transcript
) -> None:
    policy = policy_of(detectors="{marker: {confidence: 0.3}, loop: {enabled: false}}")
    await store.update_session("s", policy=policy.model_dump_json())
    watched = watch(policy)
    await watched.take(eventful(transcript))

    again = [verdict for verdict in await replayed(store) if verdict.key != "unfinished"]
    assert again == watched.verdicts
    assert {verdict.detector for verdict in again} == {"marker", "hallucinated_tool"}
    assert {verdict.confidence for verdict in again if verdict.detector == "marker"} == {0.3}
