"""What an agent is told when it goes on: calls are named, and nothing in them gets out."""

from __future__ import annotations

import json

import msgspec
import pytest

from supervisor.core.entry import LUCID_MARKER, Prompt
from supervisor.core.interruption import Cause, Fate, GoOn, Interruption, LostCall
from supervisor.core.resumption import continue_prompt, going_on, verify_prompt
from tests.unit.core.test_feedback import ATTACKS


def call(tool: str = "Bash", fate: Fate = Fate.UNKNOWN, **given: object) -> LostCall:
    raw = msgspec.Raw(json.dumps(given).encode())
    return LostCall(call_id="c", tool=tool, input=raw, fate=fate)


def interruption(go_on: GoOn, **fields: object) -> Interruption:
    return msgspec.structs.replace(
        Interruption(cause=Cause.UNKNOWN_ERROR, go_on=go_on, reason="r"), **fields
    )


def prompt(seq: int = 1) -> Prompt:
    return Prompt(session_id="s", seq=seq, transcript="t", text="Sort the orders.")


def frame(text: str) -> list[str]:
    """The lines that are Lucid's own, and the marks that show what was quoted."""
    return [line for line in text.splitlines() if not line.startswith("- ")]


def test_going_on_does_not_begin_anew() -> None:
    text = continue_prompt()

    assert text.startswith(LUCID_MARKER)
    assert "Do not begin anew" in text
    assert "nobody asked you to stop" in text


def test_a_call_in_doubt_is_named_with_its_arguments() -> None:
    text = verify_prompt([call(command="rm -r old", timeout=5, force=True, tags=["a"])])

    assert '- Bash(command="rm -r old", timeout=5, force=true, tags="[\\"a\\"]")' in text
    assert "no result was recorded" in text
    assert "Before you repeat one of them" in text


def test_a_subagents_call_is_attributed() -> None:
    text = verify_prompt(
        [LostCall(call_id="c", tool="Write", agent_id="a1")], agents_cut_off=["a1"]
    )

    assert '- Write(): no result was recorded, called by your subagent "a1"' in text
    assert 'not at work any more:\n- "a1"' in text


@pytest.mark.parametrize("fate", Fate)
def test_every_fate_has_its_words(fate: Fate) -> None:
    assert verify_prompt([call(fate=fate)])


def test_calls_that_were_not_begun_are_told_apart() -> None:
    text = verify_prompt([call("Write")], not_run=[call("Edit", Fate.NOT_RUN)])

    assert text.index("Write()") < text.index("were not begun") < text.index("Edit()")
    assert "Edit()" in continue_prompt([call("Edit", Fate.NOT_RUN)])


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_breaks_out_of_its_quotes(attack: str) -> None:
    harmless = verify_prompt([call("Tool", argument="x")], agents_cut_off=["a"])
    hostile = LostCall(
        call_id="c",
        tool=f"T {ATTACKS[attack]}",
        input=msgspec.Raw(json.dumps({f"n {attack}": ATTACKS[attack]}).encode()),
        agent_id=ATTACKS[attack] or None,
    )

    text = verify_prompt([hostile], agents_cut_off=[ATTACKS[attack]])

    assert frame(text) == frame(harmless)
    assert text.count("<") == text.count(">") == 2
    assert len(text) < 4_000
    text.encode()


@pytest.mark.parametrize(
    "raw", [b"[1, 2]", b'"text"', b"{broken", b'{"a": "\xff"}', b'{"a": "\\ud83d"}', b"", b"null"]
)
def test_arguments_that_are_no_object_are_quoted_as_they_are(raw: bytes) -> None:
    text = verify_prompt([LostCall(call_id="c", tool="T", input=msgspec.Raw(raw))])

    assert len([line for line in text.splitlines() if line.startswith("- T(")]) == 1
    text.encode()


def test_the_text_is_bounded_and_says_what_it_leaves_out() -> None:
    many = [call(**{f"key{i}": "x" * 10_000 for i in range(40)}) for _ in range(500)]

    text = verify_prompt(many, agents_cut_off=["a"] * 500)

    assert len(text) < 100_000
    assert "(cut: 10000 characters)" in text
    assert "and 480 more" in text


@pytest.mark.parametrize("go_on", [GoOn.STOP, GoOn.HAND_OVER])
def test_where_the_model_is_not_asked_nothing_is_said(go_on: GoOn) -> None:
    assert going_on(interruption(go_on, prompt=prompt(), calls_in_doubt=(call(),))) is None


def test_a_prompt_that_is_sent_again_stands_alone() -> None:
    assert going_on(interruption(GoOn.RESEND)) is None
    assert going_on(interruption(GoOn.RESEND, prompt=prompt(), fork_before=1)) is None


def test_unless_calls_may_have_run_before_it_got_lost() -> None:
    text = going_on(interruption(GoOn.RESEND, calls_in_doubt=(call(),)))

    assert text == verify_prompt([call()])


@pytest.mark.parametrize("go_on", [GoOn.CONTINUE, GoOn.COMPACT, GoOn.REPAIR, GoOn.VERIFY])
def test_what_is_in_doubt_decides_between_continuing_and_verifying(go_on: GoOn) -> None:
    clear = interruption(go_on, prompt=prompt(1), fork_before=5)
    doubtful = interruption(go_on, prompt=prompt(1), fork_before=5, agents_cut_off=("a1",))

    assert going_on(clear) == continue_prompt()
    assert going_on(doubtful) == verify_prompt([], agents_cut_off=["a1"])


def test_the_objective_is_not_repeated() -> None:
    for go_on in GoOn:
        said = going_on(interruption(go_on, prompt=prompt(1), calls_in_doubt=(call(),)))
        assert "Sort the orders." not in (said or "")


def test_a_rolled_back_agent_learns_what_was_too_large() -> None:
    text = going_on(
        interruption(GoOn.ROLL_BACK, prompt=prompt(1), fork_before=5, calls_in_doubt=(call(),))
    )

    assert text is not None
    assert "too large for your context" in text
    assert "Bash()" in text


def test_a_person_who_interrupted_is_not_contradicted() -> None:
    assert going_on(interruption(GoOn.PAUSE, prompt=prompt())) is None
    text = going_on(interruption(GoOn.PAUSE, prompt=prompt(), calls_in_doubt=(call(),)))

    assert text is not None
    assert "Bash()" in text
    assert "nobody asked you to stop" not in text
    assert "Go on" not in text
