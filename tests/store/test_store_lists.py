"""What was recorded of a session, read a part at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import chain

import msgspec
import pytest

from supervisor.core.decision import Choice, Decision
from supervisor.core.intent import Intent
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.core.word import Heard, Saying, Word
from supervisor.errors import TranscriptError
from supervisor.store.interface import Incident, ListedT, Store
from supervisor.store.parts import START, Position
from supervisor.store.sqlite_file import connect
from supervisor.store.statements import SQL, load_statements

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, 10, 30, tzinfo=UTC)
_Item = Verdict | Decision | Outcome | Incident | Intent
SEQS = (7, 3, 9, 3, 12)
"""In the order in which they are recorded."""


def _verdict(number: int, seq: int, summary: str = "again") -> Verdict:
    return Verdict(
        session_id="s",
        transcript="t",
        seq=seq,
        onset_seq=1,
        detector="loop",
        failure_mode=FailureMode.LOOP,
        severity=Severity.WARNING,
        confidence=0.95,
        summary=summary,
        evidence=Evidence(entries=(seq,)),
        key=f"k{number}",
    )


def _decision(number: int, seq: int) -> Decision:
    return Decision(
        id=f"d{number}",
        session_id="s",
        seq=seq,
        at=NOW,
        verdict=_verdict(number, seq),
        choice=Choice.ACT,
        reason="first rung",
    )


def _outcome(number: int, seq: int) -> Outcome:
    return Outcome(
        session_id="s",
        decision_id=f"d{number}",
        action="nudge",
        failure_mode=FailureMode.LOOP,
        status=OutcomeStatus.CLEARED,
        seq=seq,
        at=NOW,
        reason="r",
    )


def _incident(number: int, seq: int) -> Incident:
    return Incident(session_id="s", seq=seq, at=NOW, source="ingest", message=f"line {number}")


def _intent(number: int, seq: int) -> Intent:
    return Intent(
        session_id="s",
        call_id=f"c{number}",
        tool="Bash",
        input=msgspec.Raw(b"{}"),
        at=NOW + timedelta(seconds=seq),
    )


MAKERS: list[Callable[[int, int], _Item]] = [_verdict, _decision, _outcome, _incident, _intent]


@pytest.fixture
async def kept(store: Store) -> Store:
    for session_id in ("other", "s"):
        await store.create_session(session_id, project_key="p")
    return store


async def _parts(
    store: Store, kind: type[ListedT], limit: int, after: Position = START
) -> list[list[ListedT]]:
    parts: list[list[ListedT]] = []
    end: Position | None = after
    while end is not None:
        part = await store.recorded(kind, "s", after=end, limit=limit)
        parts.append(part.items)
        end = part.end
    return parts


@pytest.mark.parametrize("make", MAKERS)
async def test_the_parts_of_a_list_make_up_the_whole(
    kept: Store, make: Callable[[int, int], _Item]
) -> None:
    items = [make(number, seq) for number, seq in enumerate(SEQS)]
    await kept.record(*items, msgspec.structs.replace(items[0], session_id="other"))
    kind = type(items[0])
    whole = (await kept.recorded(kind, "s")).items
    assert len(whole) == 5
    for limit, sizes in ((2, [2, 2, 1]), (5, [5]), (9, [5])):
        parts = await _parts(kept, kind, limit)
        assert [len(part) for part in parts] == sizes
        assert list(chain(*parts)) == whole


async def test_what_was_concluded_stands_by_its_entry_and_then_as_it_came(kept: Store) -> None:
    await kept.record(*[_verdict(number, seq) for number, seq in enumerate(SEQS)])
    parts = await _parts(kept, Verdict, 2)
    assert [[(one.seq, one.key) for one in part] for part in parts] == [
        [(3, "k1"), (3, "k3")],
        [(7, "k0"), (9, "k2")],
        [(12, "k4")],
    ]


async def test_what_comes_late_moves_nothing(kept: Store) -> None:
    await kept.record(*[_verdict(number, seq) for number, seq in enumerate(SEQS)])
    first = await kept.recorded(Verdict, "s", limit=3)
    assert first.end is not None
    await kept.record(_verdict(5, 1), _verdict(6, 7), _verdict(7, 10))

    rest = await _parts(kept, Verdict, 2, first.end)

    assert [one.key for one in first.items] == ["k1", "k3", "k0"]
    assert [one.key for one in chain(*rest)] == ["k6", "k2", "k7", "k4"]


async def test_a_word_that_was_heard_is_on_no_part(kept: Store) -> None:
    ids = ["w0", "w1", "w2"]
    words = [Word(session_id="s", id=each, at=NOW, saying=Saying.APPROVE) for each in ids]
    await kept.record(*words, Heard(session_id="s", word_id="w1", at=NOW))
    assert await _parts(kept, Word, 1) == [[words[0]], [words[2]]]


async def test_a_list_without_anything_has_one_empty_part(kept: Store) -> None:
    assert await _parts(kept, Verdict, 2) == [[]]


async def test_a_part_of_an_unknown_session_is_an_error(store: Store) -> None:
    with pytest.raises(TranscriptError, match="no session 'nope'"):
        await store.recorded(Verdict, "nope", limit=2)


async def test_a_long_list_is_read_a_part_at_a_time_in_memory_too(kept: Store) -> None:
    count, most = 2_000, 1_000_000
    for start in range(0, count, 500):
        numbers = range(start, start + 500)
        await kept.record(*[_verdict(number, number, "x" * 2_000) for number in numbers])
    read = 0
    end: Position | None = START
    tracemalloc.start()
    try:
        while end is not None:
            part = await kept.recorded(Verdict, "s", after=end, limit=50)
            read, end = read + len(part.items), part.end
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == count
    assert peak < most < count * 2_000


@pytest.mark.parametrize("kind", ["verdict", "decision", "outcome", "incident"])
def test_a_part_is_found_without_a_look_at_the_others(kind: str) -> None:
    statement = load_statements(SQL / "sqlite" / "queries.sql")[f"{kind}s"]
    names = dict.fromkeys(("session_key", "after_seq", "after_number", "limit"), 1)
    with closing(connect(None, 1.0)) as db:
        (step,) = db.execute(f"EXPLAIN QUERY PLAN {statement}", names).fetchall()
    assert step["detail"].startswith(f"SEARCH {kind} USING INDEX {kind}_in_order (session_key=?")
    assert ">" in step["detail"]
