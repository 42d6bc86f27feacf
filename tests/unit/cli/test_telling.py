"""Messages to lines, and lines to a terminal, a pipe, or a machine."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable
from typing import Any

import pytest
from claude_agent_sdk import (
    AssistantMessage,
    Message,
    ResultMessage,
    SystemMessage,
    TaskStartedMessage,
    TextBlock,
    ToolResultBlock,
    ToolUseBlock,
    UserMessage,
)
from rich.console import Console

from supervisor.cli.beats import Beat
from supervisor.cli.story import Story
from supervisor.cli.tally import Tally
from supervisor.cli.terminal import JsonTerminal, LiveTerminal, PlainTerminal, Terminal, rendered
from tests.unit.cli.conftest import EVIL, unprintable


def says(text: str, parent: str | None = None) -> Message:
    return AssistantMessage(content=[TextBlock(text)], model="m", parent_tool_use_id=parent)


def calls(name: str, given: dict[str, Any]) -> Message:
    return AssistantMessage(content=[ToolUseBlock("c", name, given)], model="m")


def returns(text: str, is_error: bool | None = None) -> Message:
    return UserMessage(content=[ToolResultBlock("c", text, is_error)])


def event(kind: str, **data: object) -> Message:
    return SystemMessage(f"lucid_{kind}", data)


VERDICT = {
    "failure_mode": "loop",
    "severity": "warning",
    "confidence": 0.8,
    "summary": "Bash returned the same 3 times.",
    "agent_id": None,
}


def decision(choice: str, action: str | None = "nudge", **changes: object) -> Message:
    data = {
        "id": "d1", "choice": choice, "action": action, "reason": "rung 1 of 4", "skipped": [],
        "verdict": VERDICT,
    }  # fmt: skip
    return event("decision", **(data | changes))


def outcome(status: str) -> Message:
    return event(
        "outcome", decision_id="d1", action="nudge", status=status, reason="again", did="said so"
    )


def result(cost: float | None = 0.5, text: str | None = "Done.") -> ResultMessage:
    return ResultMessage(
        subtype="success", duration_ms=1, duration_api_ms=1, is_error=False, num_turns=1,
        session_id="s", total_cost_usd=cost, result=text,
        usage={"input_tokens": 10, "cache_read_input_tokens": 1000, "output_tokens": 7},
    )  # fmt: skip


STORY = [
    says("I will look."),
    calls("Bash", {"description": "Look", "command": "cat log"}),
    returns("nothing\nnew"),
    event("verdict", **VERDICT),
    decision("act", skipped=[{"action": "rollback", "reason": "cannot branch"}]),
    event("verdict", **VERDICT),
    decision("waiting", None),
    calls("Ghost", {"depth": 3}),
    returns("<tool_use_error>Error: No such tool available: Ghost</tool_use_error>", True),
    outcome("failed"),
    event("incident", source="detector:loop", place="entry 3", message="switched off"),
    result(),
]


def lines(messages: Iterable[Message], *, in_brief: bool = False) -> list[str]:
    story = Story(in_brief=in_brief)
    return [str(beat) for message in messages for beat in story.beats(message)]


def test_a_story_in_full() -> None:
    assert lines(STORY) == [
        "agent     I will look.",
        "call      Bash  cat log",
        "result    ok  nothing new",
        "verdict   loop  Bash returned the same 3 times. (warning, confidence 0.80)",
        "skipped   rollback  cannot branch",
        "decision  nudge  rung 1 of 4",
        "verdict   loop  Bash returned the same 3 times. (warning, confidence 0.80)",
        "decision  waiting  rung 1 of 4",
        'call      Ghost  {"depth":3}',
        "result    error  No such tool available: Ghost",
        "outcome   nudge failed  again (said so)",
        "incident  detector:loop  entry 3: switched off",
    ]


def test_a_story_in_brief_keeps_what_it_turns_on() -> None:
    assert lines(STORY, in_brief=True) == [
        "call      Bash  cat log",
        "verdict   loop  Bash returned the same 3 times. (warning, confidence 0.80)",
        "skipped   rollback  cannot branch",
        "decision  nudge  rung 1 of 4",
        'call      Ghost  {"depth":3}',
        "result    error  No such tool available: Ghost",
        "outcome   nudge failed  again (said so)",
        "incident  detector:loop  entry 3: switched off",
        "agent     Done.",
    ]


def test_subagents_are_named_alike_in_their_words_and_in_verdicts_on_them() -> None:
    started = TaskStartedMessage(
        subtype="task_started", data={}, task_id="a6eb5de3336943c33", description="Look",
        uuid="u", session_id="s", tool_use_id="toolu_1",
    )  # fmt: skip
    verdict = event("verdict", **VERDICT | {"agent_id": "a6eb5de3336943c33"})

    assert lines([started, says("Here.", "toolu_1"), verdict, says("Early.", "toolu_2")]) == [
        "agent     [a6eb5de3]  Here.",
        "verdict   [a6eb5de3] loop  Bash returned the same 3 times. (warning, confidence 0.80)",
        "agent     [toolu_2]  Early.",
    ]


ATTACKS = [
    says(EVIL),
    calls(EVIL, {EVIL: EVIL}),
    returns(EVIL, True),
    event("verdict", **VERDICT | {"summary": EVIL}),
    decision("act", reason=EVIL),
    event("incident", source=EVIL, place=EVIL, message=EVIL),
]


@pytest.mark.parametrize("kind", [PlainTerminal, JsonTerminal])
def test_nothing_an_agent_says_can_steer_a_terminal(
    kind: type[PlainTerminal], capsys: pytest.CaptureFixture[str]
) -> None:
    tell(kind(Story()), ATTACKS)

    said = capsys.readouterr().out
    assert said.count("evil") >= 8
    assert not unprintable(said)


def test_nothing_an_agent_says_can_steer_a_live_terminal_either() -> None:
    shown = show(ATTACKS, width=80)

    without_styles = re.sub(r"\x1b\[[0-9;]*m", "", shown)
    assert without_styles.count("evil") >= 8
    assert not unprintable(without_styles)


def tell(terminal: Terminal, messages: Iterable[Message]) -> None:
    tally = Tally()
    with terminal:
        for message in messages:
            tally.count(message)
            terminal.show(message, tally)
    terminal.close("The end", [("session", "s")], {"state": "reached"})


def show(messages: Iterable[Message], *, width: int, in_brief: bool = False) -> str:
    """What a terminal of that width would show, without a status."""
    file = io.StringIO()
    console = Console(file=file, width=width, force_terminal=True, color_system="standard")
    tell(LiveTerminal(console, Story(in_brief=in_brief), moving=False), messages)
    return file.getvalue()


def test_a_terminal_shows_a_step_in_one_line_and_all_of_what_lucid_did() -> None:
    long = decision("act", reason="because " * 20 + "so")

    shown = show([says("I will. " * 30), long], width=60)

    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    said = [line for line in plain if "agent" in line]
    decided = [line for line in plain if line not in said][:-3]
    assert len(said) == 1
    assert said[0].rstrip().endswith("…")
    assert all(len(line.rstrip()) <= 60 for line in plain)
    assert decided[0].startswith("▌ decision nudge  because because")
    assert decided[-1].strip().endswith("so")
    assert " ".join(decided).count("because") == 20


def test_a_line_that_repeats_is_counted() -> None:
    again = calls("Bash", {"command": "cat log"})

    shown = show([again, again, again, says("Enough.")], width=60)

    plain = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
    assert [" ".join(line.split()) for line in plain[:2]] == [
        "call Bash cat log ×3",  # noqa: RUF001 - a sign
        "agent Enough.",
    ]


def test_markup_is_text() -> None:
    file = io.StringIO()
    console = Console(file=file, width=60, force_terminal=True, no_color=True)

    console.print(rendered(Beat("agent", "", "[bold]not bold[/bold] :smile:")))

    assert "[bold]not bold[/bold] :smile:" in file.getvalue()


def test_no_color_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    shown = show(STORY, width=100)

    assert not re.search(r"\x1b\[[0-9;]*3\dm", shown)


def test_json_lines_hold_the_messages_whole(capsys: pytest.CaptureFixture[str]) -> None:
    tell(JsonTerminal(Story()), STORY)

    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["message"] for line in told[:3]] == [
        "AssistantMessage", "AssistantMessage", "UserMessage",
    ]  # fmt: skip
    assert told[3] == {"message": "SystemMessage", "subtype": "lucid_verdict", "data": VERDICT}
    assert told[-1] == {"message": "LucidSummary", "state": "reached"}


def test_a_tally_counts_what_happened_and_what_it_took() -> None:
    tally = Tally()
    for message in [*STORY, result(cost=0.75), outcome("relapsed")]:
        tally.count(message)

    assert tally.tool_calls == 2
    assert tally.verdicts == {"loop": 2}
    assert tally.decisions == {"nudge": 1, "waiting": 1}
    assert tally.outcomes == ["nudge relapsed"]
    assert tally.incidents == 1
    assert tally.tokens == (2020, 14)
    assert tally.cost_usd == 0.75  # a running total
    assert tally.spent == [
        ("tool calls", "2"),
        ("tokens", "2,020 in, 14 out"),
        ("cost", "$0.7500"),
    ]
