"""Where a transcript may be cut: no call without its result, no message in two."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest

from supervisor.core.checkpoint import Checkpoint, Checkpoints
from supervisor.core.entry import Origin, ToolResult
from tests.unit.core.conftest import Script


def offered(script: Script) -> list[int]:
    """The entries that a transcript may be cut after."""
    checkpoints = Checkpoints()
    for entry in script.entries:
        checkpoints.observe(entry)
    seqs = []
    at = checkpoints.last()
    while at is not None:
        seqs.append(at.seq)
        at = checkpoints.before(at.seq)
    return seqs[::-1]


PLACES: dict[str, tuple[Callable[[Script], Script], list[int]]] = {
    "a user's prompt": (lambda s: s.prompt(), [1]),
    "lucid's prompt": (lambda s: s.prompt(Origin.LUCID), [1]),
    "a compaction's summary": (lambda s: s.compaction().prompt(Origin.COMPACTION), [2]),
    "what the runtime injects": (lambda s: s.prompt(Origin.META), []),
    "a report on background work": (lambda s: s.prompt(Origin.TASK), []),
    "a call and its result": (lambda s: s.prompt().call("a").result("a"), [1, 3]),
    "a call without its result": (lambda s: s.prompt().call("a"), [1]),
    "a prompt beside an open call": (lambda s: s.prompt().call("a").prompt(), [1]),
    "parallel calls": (
        lambda s: s.prompt().call("a").call("b").result("a").result("b"),
        [1, 5],
    ),
    "parallel calls, results in another order": (
        lambda s: s.prompt().call("a").call("b").result("b").notice().result("a"),
        [1, 6],
    ),
    "a result that no call is known for": (lambda s: s.result("a"), [1]),
    "text in the middle of a turn": (lambda s: s.prompt().text("tool_use"), [1]),
    "text of unknown end": (lambda s: s.prompt().text(None), [1]),
    "the text that ends a turn": (lambda s: s.prompt().text("end_turn"), [1, 2]),
    "thinking": (lambda s: s.prompt().thinking(), [1]),
    "a record of the runtime's": (lambda s: s.notice(), []),
    # The CLI runs a call while the model still writes the next one of the same message.
    "calls of one message, each run at once": (
        lambda s: (
            s.prompt()
            .call("a", message_id="m")
            .result("a")
            .call("b", message_id="m")
            .result("b")
            .call("c", message_id="n")
            .result("c")
        ),
        [1, 5, 7],
    ),
    "a message's second text": (
        lambda s: (
            s.prompt().text("end_turn", message_id="m").text("end_turn", message_id="m").prompt()
        ),
        [1, 3, 4],
    ),
    "a call that a crash cut off": (
        lambda s: (
            s.prompt()
            .call("a", message_id="m")
            .prompt()
            .call("b", message_id="n")
            .result("b")
            .text("end_turn", message_id="o")
        ),
        [1, 5, 6],
    ),
    "messages without an id": (
        lambda s: s.prompt().call("a").result("a").call("b").result("b"),
        [1, 3, 5],
    ),
    "an entry without a uuid": (lambda s: s.prompt(uuid=None).prompt(), [2]),
    "two blocks of one line": (
        lambda s: s.prompt(seq=1, uuid="u").prompt(seq=1, uuid="u", part=1),
        [1],
    ),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_transcript_may_be_cut_after(name: str, script: Script) -> None:
    write, expected = PLACES[name]
    assert offered(write(script)) == expected


def test_before_gives_the_last_one_that_comes_before(script: Script) -> None:
    checkpoints = Checkpoints()
    for entry in script.prompt().call("a").result("a").call("b").result("b").entries:
        checkpoints.observe(entry)

    def before(seq: int) -> int | None:
        at = checkpoints.before(seq)
        return at.seq if at else None

    assert [before(seq) for seq in range(1, 8)] == [None, 1, 1, 3, 3, 5, 5]


def test_it_names_session_transcript_and_entry(script: Script) -> None:
    checkpoints = Checkpoints()
    assert checkpoints.last() is None
    for entry in script.prompt().entries:
        checkpoints.observe(entry)

    assert checkpoints.last() == Checkpoint(
        session_id="s", transcript="t", seq=1, uuid="00000000-0000-0000-0000-000000000001"
    )


def test_old_ones_are_thinned_out_and_the_latest_all_known() -> None:
    script = Script()
    for number in range(5_000):
        script.call(f"c{number}").result(f"c{number}")
    places = offered(script)
    results = [entry.seq for entry in script.entries if isinstance(entry, ToolResult)]

    assert places[-64:] == results[-64:]
    assert len(places) <= 128
    assert places[0] == results[0]
    gaps = [later - earlier for earlier, later in pairwise(places)]
    assert gaps == sorted(gaps, reverse=True)
