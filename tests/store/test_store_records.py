"""What was concluded is recorded once, in one piece, and read back equal."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import msgspec
import pytest

from supervisor.core.decision import Choice, Decision, Skipped
from supervisor.core.intent import Intent
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.sent import SentPrompt
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.errors import TranscriptError
from supervisor.store.interface import Incident, Recorded, Store

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 10, 30, 0, 123_456, tzinfo=UTC)


def _verdict(seq: int = 9, summary: str = "the same call, 3 times") -> Verdict:
    return Verdict(
        session_id="s",
        transcript="t",
        agent_id="a1",
        seq=seq,
        onset_seq=4,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.95,
        summary=summary,
        evidence=Evidence(entries=(4, 6, 9), facts={"tool": "Read", "times": 3, "names": ("a",)}),
        key="k",
    )


def _decision(choice: Choice = Choice.ACT) -> Decision:
    return Decision(
        id=f"d-{choice}",
        session_id="s",
        seq=9,
        at=NOW.astimezone(timezone(timedelta(hours=2))),
        verdict=_verdict(),
        choice=choice,
        reason="first rung",
        rule="break loops",
        rung=0,
        action="nudge",
        params={"to": "onset", "n": 1},
        skipped=(Skipped("compact", "no capability"),),
    )


def _outcome(status: OutcomeStatus, seq: int) -> Outcome:
    return Outcome(
        session_id="s",
        decision_id="d-act",
        action="nudge",
        failure_mode=FailureMode.LOOP,
        status=status,
        seq=seq,
        at=NOW,
        reason="r",
    )


def _intent(call_id: str = "c1", agent_id: str | None = None) -> Intent:
    return Intent(
        session_id="s",
        call_id=call_id,
        tool="Bash",
        input=msgspec.Raw(b'{"command": "ls"}'),
        agent_id=agent_id,
        at=NOW,
    )


def _incident(message: str = "malformed JSON", at: datetime = NOW) -> Incident:
    return Incident(session_id="s", seq=3, at=at, source="ingest", place="line 7", message=message)


def _prompt(uuid: str = "p1", message: bytes = b'{"message": {"content": "go on"}}') -> SentPrompt:
    return SentPrompt(session_id="s", uuid=uuid, at=NOW, message=msgspec.Raw(message))


@pytest.fixture
async def kept(store: Store) -> Store:
    await store.create_session("s", project_key="p")
    return store


async def test_every_kind_comes_back_equal_in_order(kept: Store) -> None:
    verdicts = [_verdict(9), _verdict(12)]
    decisions = [_decision(Choice.ACT), _decision(Choice.COOLDOWN)]
    outcomes = [_outcome(OutcomeStatus.CLEARED, 20), _outcome(OutcomeStatus.RELAPSED, 30)]
    intents = [_intent("c1"), _intent("c1", "a1"), _intent("c2")]
    incidents = [_incident("one"), Incident(session_id="s", at=NOW, source="store", message="two")]
    prompts = [_prompt("p2"), _prompt("p1")]
    await kept.record(*verdicts, *decisions, *outcomes, *intents, *incidents, *prompts)
    assert await kept.verdicts("s") == verdicts
    assert await kept.decisions("s") == decisions
    assert await kept.outcomes("s") == outcomes
    assert await kept.intents("s") == intents
    assert await kept.incidents("s") == incidents
    assert await kept.prompts("s") == prompts
    row = await kept.session("s")
    assert (row.verdicts, row.interventions) == (2, 1)


async def test_a_decision_is_found_by_the_beginning_of_its_id(kept: Store) -> None:
    await kept.create_session("other", project_key="p")
    acted, waited = _decision(Choice.ACT), _decision(Choice.COOLDOWN)
    elsewhere = msgspec.structs.replace(acted, id="d-a%", session_id="other")
    await kept.record(acted, waited)
    await kept.record(elsewhere)

    assert await kept.decisions_like("d-c", limit=9) == [waited]
    assert await kept.decisions_like("d-a", limit=9) == [elsewhere, acted]
    assert await kept.decisions_like("d-a%", limit=9) == [elsewhere]
    assert await kept.decisions_like("d-", limit=2) == [elsewhere, acted]
    assert await kept.decisions_like("D-", limit=9) == []


async def test_recording_twice_is_harmless_and_the_first_stays(kept: Store) -> None:
    later = NOW + timedelta(hours=1)
    items: list[Recorded] = [
        _verdict(),
        _decision(),
        _outcome(OutcomeStatus.FAILED, 20),
        _intent(),
        _incident(),
        _prompt(),
    ]
    await kept.record(*items)
    others = (_verdict(summary="said otherwise"), _incident(at=later), _prompt(message=b"{}"))
    await kept.record(*items, *others)
    assert await kept.verdicts("s") == [_verdict()]
    assert await kept.decisions("s") == [_decision()]
    assert len(await kept.outcomes("s")) == len(await kept.intents("s")) == 1
    assert [incident.at for incident in await kept.incidents("s")] == [NOW]
    assert await kept.prompts("s") == [_prompt()]


async def test_a_long_prompt_is_kept_byte_for_byte(kept: Store) -> None:
    message = b'{"message": {"content": "' + "hé ".encode() * 100_000 + b'"}, "n": 1.0}'
    await kept.record(_prompt(message=message))
    (prompt,) = await kept.prompts("s")
    assert bytes(prompt.message) == message


async def test_recording_is_all_or_nothing(kept: Store) -> None:
    stray = msgspec.structs.replace(_verdict(), session_id="nope")
    with pytest.raises(TranscriptError, match="no session 'nope'; the nearest are s"):
        await kept.record(_verdict(), stray)
    assert await kept.verdicts("s") == []


async def test_recording_nothing_is_nothing(kept: Store) -> None:
    await kept.record()


async def test_quoted_text_that_utf8_cannot_hold_is_kept_as_far_as_it_can(kept: Store) -> None:
    await kept.record(
        _verdict(summary="cut \ud83d"),
        _incident("cut \ud83d"),
        msgspec.structs.replace(_intent(), tool="T\ud83d"),
    )
    assert [verdict.summary for verdict in await kept.verdicts("s")] == ["cut ?"]
    assert [incident.message for incident in await kept.incidents("s")] == ["cut ?"]
    (intent,) = await kept.intents("s")
    assert (intent.tool, msgspec.json.decode(intent.input)) == ("T?", {"command": "ls"})


async def test_the_records_of_an_unknown_session_are_an_error(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'"):
        await store.verdicts("nope")
