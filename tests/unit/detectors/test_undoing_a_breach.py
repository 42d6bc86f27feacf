"""`detectors.drift`: an agent that undoes what it must not have done is left to it."""

from __future__ import annotations

import msgspec
import pytest

from detectors.drift import Drift
from supervisor.core.entry import Entry, Notice, Origin, Prompt, ToolCall
from supervisor.testing.fixtures import verdicts_of

PLACE = {"session_id": "s", "transcript": "t"}
BAN = Prompt(**PLACE, seq=1, turn=1, text="Raise the limit. Do not touch config.yaml.")
LUCID = Prompt(**PLACE, seq=3, turn=1, text="<lucid>You broke it.</lucid>", origin=Origin.LUCID)
HOOK = Notice(**PLACE, seq=3, type="attachment/hook_additional_context")
OTHER = Notice(**PLACE, seq=3, type="attachment/date")


def edit(seq: int, path: str = "config.yaml") -> ToolCall:
    raw = msgspec.Raw(msgspec.json.encode({"file_path": path}))
    return ToolCall(**PLACE, seq=seq, call_id=f"c{seq}", tool="Edit", input=raw)


def seqs(*entries: Entry) -> list[int]:
    return [verdict.seq for verdict in verdicts_of(Drift(), [BAN, *entries])]


@pytest.mark.parametrize("word", [LUCID, HOOK])
def test_one_more_write_after_a_word_undoes_the_breach(word: Entry) -> None:
    assert seqs(edit(2), word, edit(4)) == [2]


def test_a_second_write_after_the_word_is_a_breach_again() -> None:
    assert seqs(edit(2), LUCID, edit(4), edit(5)) == [2, 5]


@pytest.mark.parametrize("nothing", [[], [OTHER]])
def test_without_a_word_there_is_nothing_to_undo(nothing: list[Entry]) -> None:
    assert seqs(edit(2), *nothing, edit(4)) == [2, 4]


def test_what_cannot_be_undone_by_doing_it_again_is_a_breach_each_time() -> None:
    ban = Prompt(**PLACE, seq=1, turn=1, text="Fix it. Do not commit.")
    raw = msgspec.Raw(msgspec.json.encode({"command": "git commit -m x"}))
    commits = [ToolCall(**PLACE, seq=n, call_id=f"c{n}", tool="Bash", input=raw) for n in (2, 4)]

    verdicts = verdicts_of(Drift(), [ban, commits[0], LUCID, commits[1]])

    assert [verdict.seq for verdict in verdicts] == [2, 4]
