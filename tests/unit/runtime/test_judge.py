"""Stored entries in, verdicts out: the same live, on replay and in a fork."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, ClassVar
from weakref import WeakSet

import msgspec
import pytest

from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Text
from supervisor.core.verdict import Verdict
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge, Judged
from supervisor.store.interface import StoredEntry
from tests.unit.runtime.conftest import MAIN, Transcript
from tests.unit.runtime.plugins import Fragile, Marker, MarkerConfig, Stillborn

FORK = "22222222-2222-4222-8222-222222222222"


def judge(*kinds: type[Detector], **configs: DetectorConfig) -> Judge:
    return Judge("s", {kind.name: kind for kind in kinds}, configs)


def watch(judge: Judge, stored: Iterable[StoredEntry]) -> list[Judged]:
    return [judge.observe(entry) for entry in stored]


def verdicts(judged: Iterable[Judged]) -> list[Verdict]:
    return [verdict for one in judged for verdict in one.verdicts]


def troubles(judged: Iterable[Judged]) -> list[tuple[str, int | None, str]]:
    return [(t.source, t.seq, t.message) for one in judged for t in one.troubles]


def test_a_verdict_names_its_session_transcript_and_entry(transcript: Transcript) -> None:
    transcript.prompt()
    transcript.step("a", "FAIL:one@2")
    (found,) = verdicts(watch(judge(Marker), transcript.stored()))

    assert (found.session_id, found.transcript, found.agent_id) == ("s", MAIN, None)
    assert (found.seq, found.onset_seq, found.key) == (3, 2, "one")


def test_detectors_run_as_configured(transcript: Transcript) -> None:
    transcript.text("FAIL:one")
    sure = judge(Marker, marker=MarkerConfig(confidence=0.3))
    off = judge(Marker, marker=MarkerConfig(enabled=False))

    (found,) = verdicts(watch(sure, transcript.stored()))
    assert found.confidence == 0.3
    assert verdicts(watch(off, transcript.stored())) == []


def test_a_detector_that_raises_is_switched_off_and_the_others_go_on(
    transcript: Transcript,
) -> None:
    transcript.prompt()
    transcript.text("BOOM FAIL:one")
    transcript.text("BOOM FAIL:two")
    seen = watch(judge(Fragile, Marker), transcript.stored())

    assert [found.key for found in verdicts(seen)] == ["one", "two"]
    assert troubles(seen) == [
        (
            "detector:fragile",
            2,
            "switched off for this session: it raised ValueError: no such luck",
        )
    ]


def test_it_is_switched_off_for_every_agent_of_the_session(transcript: Transcript) -> None:
    transcript.prompt()
    sub, later = Transcript(agent_id="sub"), Transcript(agent_id="later")
    for other in (sub, later):
        other.prompt()
        other.text("BOOM")
    one = judge(Fragile)
    seen = watch(one, transcript.stored())
    seen += watch(one, sub.stored(after=1))
    seen += watch(one, later.stored(after=3))

    assert len(troubles(seen)) == 1


def test_a_detector_that_raises_when_told_the_time_is_switched_off_once(
    transcript: Transcript,
) -> None:
    transcript.prompt()
    sub = Transcript(agent_id="sub")
    sub.prompt()
    one = judge(Fragile, Marker)
    watch(one, [*transcript.stored(), *sub.stored(after=1)])
    now = datetime(2026, 1, 1, tzinfo=UTC)

    first, second = one.tick(now), one.tick(now)
    assert troubles([first]) == [
        (
            "detector:fragile",
            None,
            "switched off for this session: it raised RuntimeError: out of time",
        )
    ]
    assert troubles([second]) == []


def test_a_detector_that_cannot_be_made_is_switched_off_and_the_others_go_on(
    transcript: Transcript,
) -> None:
    transcript.prompt()
    transcript.text("FAIL:one")
    sub = Transcript(agent_id="sub")
    sub.text("FAIL:two")
    one = judge(Marker, Stillborn)
    seen = watch(one, [*transcript.stored(), *sub.stored(after=2)])

    assert [found.key for found in verdicts(seen)] == ["one", "two"]
    assert troubles(seen) == [
        (
            "detector:stillborn",
            1,
            "switched off for this session: it raised OSError: no model file",
        )
    ]


def test_inherited_entries_prime_and_are_not_judged(transcript: Transcript) -> None:
    transcript.prompt()
    transcript.text("FAIL:past")
    prefix = transcript.stored(inherited=True)
    transcript.text("FAIL:now")
    one = judge(Marker)

    assert verdicts(watch(one, prefix)) == []
    (found,) = verdicts(watch(one, transcript.stored()[2:]))
    assert found.key == "now"
    assert found.evidence.facts["seen"] == 3, "it has seen what came before"


def test_a_detector_that_raises_on_an_inherited_entry_is_said_so_too(
    transcript: Transcript,
) -> None:
    transcript.text("BOOM")
    assert len(troubles(watch(judge(Fragile), transcript.stored(inherited=True)))) == 1


def looping(transcript: Transcript, calls: int) -> Transcript:
    transcript.prompt()
    for number in range(calls):
        transcript.step(f"call {number}", "the same", command="cat build.log")
    return transcript


def test_a_forks_judge_goes_on_where_its_prefix_stood(transcript: Transcript) -> None:
    """Two calls in the prefix and one in the fork are three in a row, as without a fork."""
    whole = watch(judge(*registry.detectors().values()), looping(transcript, 3).stored())
    (expected,) = verdicts(whole)

    fork = looping(Transcript(FORK), 3)
    one = judge(*registry.detectors().values())
    watch(one, transcript.stored()[:5])
    prefix = fork.stored(after=5, inherited=True)[:5]
    assert verdicts(watch(one, prefix)) == []
    (found,) = verdicts(watch(one, fork.stored(after=5)[5:]))

    assert (found.transcript, found.key) == (FORK, expected.key)
    assert found.confidence == expected.confidence
    assert found.onset_seq == expected.onset_seq + 5


def test_a_fork_does_not_know_what_its_origin_did_after_it(transcript: Transcript) -> None:
    one = judge(*registry.detectors().values())
    watch(one, looping(transcript, 2).stored())
    fork = looping(Transcript(FORK), 1)

    assert verdicts(watch(one, fork.stored(after=5))) == []


def test_subagents_have_detectors_of_their_own(transcript: Transcript) -> None:
    one = judge(*registry.detectors().values())
    seen = watch(one, looping(transcript, 2).stored())
    for number, agent in enumerate(("one", "two"), 1):
        sub = looping(Transcript(agent_id=agent), 2)
        seen += watch(one, sub.stored(after=5 * number))
    assert verdicts(seen) == [], "nobody has made the call three times"

    last = looping(Transcript(agent_id="two"), 3)
    (found,) = verdicts(watch(one, last.stored(after=10)[5:]))
    assert found.agent_id == "two"


def test_checkpoints_are_kept_by_transcript_and_agent(transcript: Transcript) -> None:
    one = judge()
    transcript.prompt()
    sub = Transcript(agent_id="sub")
    sub.prompt()
    sub.step("a")
    watch(one, [*transcript.stored(), *sub.stored(after=1)])

    def last(name: str, agent_id: str | None = None) -> int | None:
        checkpoints = one.checkpoints(name, agent_id)
        at = checkpoints.last() if checkpoints else None
        return at.seq if at else None

    assert (last(MAIN), last(MAIN, "sub"), last(FORK)) == (1, 4, None)


def test_a_line_that_cannot_be_read_is_told_and_the_rest_is_judged() -> None:
    transcript = Transcript()
    transcript.prompt()
    transcript.lines.append(b'{"type": "assistant", "mess')
    transcript.text("FAIL:one")
    seen = watch(judge(Marker), transcript.stored())

    ((source, seq, message),) = troubles(seen)
    assert (source, seq) == ("ingest", 2)
    assert message
    assert [found.key for found in verdicts(seen)] == ["one"]


def test_the_end_brings_the_detectors_last_words(transcript: Transcript) -> None:
    transcript.text("UNFINISHED")
    one = judge(Marker)
    watch(one, transcript.stored())

    assert [found.key for found in one.finish().verdicts] == ["unfinished"]


def test_a_replay_finds_what_was_found_live(transcript: Transcript) -> None:
    looping(transcript, 5)
    transcript.call("x", "SearchLogs")
    transcript.result("x", "<tool_use_error>No such tool available: SearchLogs</>", is_error=True)

    def run() -> list[Any]:
        one = judge(*registry.detectors().values(), Marker)
        return [*watch(one, transcript.stored()), one.finish()]

    first, again = run(), run()
    assert len(verdicts(first)) >= 3
    assert first == again


@pytest.mark.parametrize("kinds", [(), (Marker,)])
def test_entries_are_typed_whoever_looks_at_them(
    transcript: Transcript, kinds: tuple[type[Detector], ...]
) -> None:
    looping(transcript, 1)
    entries = [entry for one in watch(judge(*kinds), transcript.stored()) for entry in one.entries]

    assert [type(entry).__name__ for entry in entries] == ["Prompt", "ToolCall", "ToolResult"]
    assert [entry.turn for entry in entries] == [1, 1, 1]


def test_a_subagent_in_its_parents_file_is_an_agent_of_its_own(transcript: Transcript) -> None:
    """As CLI 1.0 wrote them."""
    looping(transcript, 2)
    transcript.line("user", isSidechain=True, parentUuid=None, message={"content": "Look."})
    transcript.call("side", command="cat build.log")
    for number in (-2, -1):
        transcript.lines[number] = transcript.lines[number].replace(
            b'"isSidechain": false', b'"isSidechain": true'
        )
    transcript.line(
        "user",
        isSidechain=True,
        message={
            "content": [{"type": "tool_result", "tool_use_id": "side", "content": "the same"}]
        },
    )
    seen = watch(judge(*registry.detectors().values()), transcript.stored())

    assert len({entry.agent_id for one in seen for entry in one.entries}) == 2
    assert verdicts(seen) == []


def test_of_very_many_agents_those_that_speak_are_followed(transcript: Transcript) -> None:
    transcript.prompt()
    one = judge(Marker)
    seen = watch(one, transcript.stored())
    for number in range(200):
        sub = Transcript(agent_id=f"sub{number}")
        sub.prompt()
        seen += watch(one, sub.stored(after=2 * number + 1))
        transcript.text("still here")
        seen += watch(one, [transcript.stored(after=2 * number + 1)[-1]])

    assert one.checkpoints(MAIN) is not None
    assert one.checkpoints(MAIN, "sub199") is not None
    assert one.checkpoints(MAIN, "sub0") is None
    assert troubles(seen)[0][2].startswith("more than 32 agents at work")


class Ending(Marker):
    """Has a last word to say of every agent; knows how many there are of it."""

    alive: ClassVar[WeakSet[Ending]] = WeakSet()

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__(config)
        self.alive.add(self)
        self._last: Entry | None = None

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        self._last = entry
        return super().observe(entry)

    def finish(self) -> Iterable[Verdict]:
        assert self._last is not None
        text = f"FAIL:end of {self._last.agent_id}"
        return super().observe(
            Text(
                session_id="s",
                transcript=MAIN,
                agent_id=self._last.agent_id,
                seq=self._last.seq,
                text=text.replace(" ", "_"),
            )
        )


def on(*lines: tuple[Transcript, bytes]) -> list[StoredEntry]:
    """What several agents wrote, in the order in which it is given."""
    return [
        msgspec.structs.replace(
            next(one for one in agent.stored() if one.raw == line),
            seq=seq,
        )
        for seq, (agent, line) in enumerate(lines, 1)
    ]


def test_a_subagent_that_has_ended_takes_no_more_room(transcript: Transcript) -> None:
    sub = Transcript(agent_id="sub")
    one = judge(Ending)
    seen = watch(
        one,
        on(
            (transcript, transcript.prompt()),
            (transcript, transcript.call("c", "Task", prompt="Look.")),
            (sub, sub.prompt("Look.")),
            (sub, sub.text("FAIL:one")),
        ),
    )
    assert [found.key for found in verdicts(seen)] == ["one", "end_of_sub"]
    gc.collect()
    assert len(Ending.alive) == 1

    finished = one.finish()
    assert [found.key for found in finished.verdicts] == ["end_of_None"], "it was said before"


def test_one_that_goes_on_is_judged_again(transcript: Transcript) -> None:
    sub = Transcript(agent_id="sub")
    one = judge(Ending)
    seen = watch(
        one,
        on(
            (sub, sub.prompt("Look.")),
            (sub, sub.text("Nothing there.")),
            (sub, sub.line("system", subtype="stop_hook_summary")),
            (sub, sub.prompt("Look again.")),
            (sub, sub.text("FAIL:two", stop=None)),
        ),
    )
    assert [found.key for found in verdicts(seen)] == ["end_of_sub", "two"]


def test_without_stop_reasons_the_parents_result_shows_that_subagents_are_done(
    transcript: Transcript,
) -> None:
    subs = [Transcript(agent_id=name) for name in ("a", "b")]
    calls = [(transcript, transcript.call(name, "Task", prompt="Look.")) for name in ("a", "b")]
    said = [
        (sub, line) for sub in subs for line in (sub.prompt("Look."), sub.text("Found.", stop=None))
    ]
    one = judge(Ending)
    seen = watch(one, on(*calls, *said, (transcript, transcript.result("a"))))
    assert verdicts(seen) == [], "the other may be at work"

    seen = watch(one, [msgspec.structs.replace(on((transcript, transcript.result("b")))[0], seq=9)])
    assert [found.key for found in verdicts(seen)] == ["end_of_a", "end_of_b"]


def test_an_errand_that_never_returns_ends_where_the_parent_speaks_anew(
    transcript: Transcript,
) -> None:
    sub = Transcript(agent_id="sub")
    one = judge(Ending)
    seen = watch(
        one,
        on(
            (transcript, transcript.call("c", "Task", prompt="Look.")),
            (sub, sub.prompt("Look.")),
            (sub, sub.text("Found.", stop=None)),
            (transcript, transcript.text("Going on.")),
        ),
    )
    assert [found.key for found in verdicts(seen)] == ["end_of_sub"]


def test_a_detector_that_has_nothing_to_look_for_is_not_asked(transcript: Transcript) -> None:
    class Idle(Marker):
        name = "idle"
        idle = True

    transcript.text("FAIL:one")
    (found,) = verdicts(watch(judge(Idle, Marker), transcript.stored()))
    assert found.detector == "marker"
