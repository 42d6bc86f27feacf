"""What a session's supervision tells Prometheus, besides what it counts of events."""

from __future__ import annotations

import asyncio

import pytest
from prometheus_client import REGISTRY

from supervisor.core.outcome import OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.errors import LeaseLost, StoreError
from supervisor.policy.load import load_policy
from supervisor.runtime import registry
from supervisor.runtime.account import Account, Stopwatch, store_asked
from supervisor.runtime.judge import Judge
from tests.unit.runtime.conftest import Transcript, Watch
from tests.unit.runtime.plugins import Marker

pytestmark = pytest.mark.anyio


def count(name: str, **labels: str) -> float:
    """What a metric of this process stands at."""
    return REGISTRY.get_sample_value(name, labels) or 0.0


def running() -> float:
    return count("lucid_sessions", state="running")


def spending(transcript: Transcript, message: str, read: int, wrote: int) -> None:
    """A block of a model's message, with the usage that the CLI repeats on each."""
    usage = {"input_tokens": 10, "cache_read_input_tokens": read, "output_tokens": wrote}
    content = [{"type": "text", "text": "Hm."}]
    transcript.line(
        "assistant",
        message={"role": "assistant", "id": message, "content": content, "usage": usage},
    )


def test_a_session_is_there_from_its_beginning_to_its_end_once() -> None:
    before, ended = running(), count("lucid_sessions_ended_total", state="paused")
    account = Account()
    account.began()
    assert running() == before + 1
    account.stands(SessionState.PAUSED)
    account.ended()
    account.ended()
    assert running() == before
    assert count("lucid_sessions_ended_total", state="paused") == ended + 1


async def test_a_store_that_refuses_is_counted_and_one_that_takes_is_measured() -> None:
    failed = count("lucid_store_errors_total", operation="record")
    taken = count("lucid_store_duration_seconds_count", operation="record")
    with store_asked("record"):
        await asyncio.sleep(0)
    with pytest.raises(StoreError), store_asked("record"):
        raise StoreError("no room")
    assert count("lucid_store_errors_total", operation="record") == failed + 1
    assert count("lucid_store_duration_seconds_count", operation="record") == taken + 1


@pytest.mark.usefixtures("marker")
async def test_what_is_found_before_a_scrape_rises_from_zero(watch: Watch) -> None:
    watch()
    labels = {"failure_mode": "loop", "detector": "loop", "severity": "warning"}
    assert REGISTRY.get_sample_value("lucid_verdicts_total", labels) is not None


def test_a_session_that_another_process_has_is_no_fault_of_the_stores() -> None:
    failed = count("lucid_store_errors_total", operation="write")
    with pytest.raises(LeaseLost), store_asked("write"):
        raise LeaseLost("taken over")
    assert count("lucid_store_errors_total", operation="write") == failed


@pytest.mark.usefixtures("marker")
async def test_what_the_policy_may_do_rises_from_zero(watch: Watch) -> None:
    watch()
    labels = {"failure_mode": "drift", "action": "nudge"}
    assert REGISTRY.get_sample_value("lucid_interventions_total", labels) is not None
    for status in OutcomeStatus:
        outcomes = labels | {"status": status}
        assert REGISTRY.get_sample_value("lucid_outcomes_total", outcomes) is not None


def test_what_a_policy_would_do_that_only_observes_rises_from_zero() -> None:
    plugins = {"detectors": registry.detectors(), "actions": registry.actions()}
    Account().decides_by(load_policy("observe", **plugins))
    labels = {"failure_mode": "false_completion", "choice": "observe", "action": "correct"}
    assert REGISTRY.get_sample_value("lucid_decisions_total", labels) is not None


@pytest.mark.usefixtures("marker")
async def test_tokens_are_counted_once_a_message_by_their_use(
    watch: Watch, transcript: Transcript
) -> None:
    uses = ("input", "output", "cache_read", "cache_write")
    before = {use: count("lucid_tokens_total", use=use) for use in uses}
    transcript.prompt()
    spending(transcript, "m1", read=100, wrote=1)
    spending(transcript, "m1", read=100, wrote=30)
    spending(transcript, "m2", read=150, wrote=5)
    watched = watch()
    await watched.take(transcript)

    risen = {use: count("lucid_tokens_total", use=use) - before[use] for use in uses}
    assert risen == {"input": 20, "output": 35, "cache_read": 250, "cache_write": 0}
    assert watched.supervision.bearings.tokens == 305


@pytest.mark.usefixtures("marker")
async def test_what_a_failure_took_is_estimated(watch: Watch, transcript: Transcript) -> None:
    before = count("lucid_wasted_tokens_total", failure_mode="drift")
    transcript.prompt()
    spending(transcript, "m1", read=100, wrote=10)
    spending(transcript, "m2", read=200, wrote=10)
    transcript.result("a", "FAIL:one@3")
    await watch().take(transcript)

    assert count("lucid_wasted_tokens_total", failure_mode="drift") - before == 220


@pytest.mark.usefixtures("marker")
async def test_each_line_is_timed_and_one_in_sixteen_by_detector(
    watch: Watch, transcript: Transcript
) -> None:
    before = count("lucid_judging_duration_seconds_count")
    for _ in range(16):
        transcript.prompt()
    await watch().take(transcript)
    assert count("lucid_judging_duration_seconds_count") - before == 16
    assert count("lucid_detector_seconds_total", detector="marker") > 0


def test_a_judge_tells_when_its_detectors_begin_and_when_each_has_answered(
    transcript: Transcript,
) -> None:
    heard: list[str] = []

    class Every:
        def begin(self) -> bool:
            heard.append("begin")
            return True

        def lap(self, detector: str) -> None:
            heard.append(detector)

    transcript.prompt()
    judge = Judge("s", {Marker.name: Marker}, {}, None, Every())
    judge.observe(transcript.stored()[0])
    assert heard == ["begin", "marker"]


def test_a_stopwatch_measures_a_sample() -> None:
    watch = Stopwatch()
    assert [watch.begin() for _ in range(32)].count(True) == 2
