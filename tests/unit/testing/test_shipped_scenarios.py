"""The stories that come with Lucid, step by step, without an agent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from supervisor.testing import load_scenario, shipped_scenarios

Converse = Callable[..., Any]

AGAIN = "reads the same log again"


def shell(outputs: dict[str, str]) -> Callable[[str, dict[str, object]], str]:
    """A tool that knows some commands, creates files, and refuses tools it does not know."""

    def run(tool: str, arguments: dict[str, object]) -> str:
        if tool == "Write":
            return f"File created successfully at: {arguments['file_path']}"
        if tool == "Bash":
            return outputs[str(arguments["command"])]
        return f"<tool_use_error>Error: No such tool available: {tool}</tool_use_error>"

    return run


def stuck(converse: Converse) -> Any:
    scenario = load_scenario("stuck-then-phantom")
    outputs = {
        "ls -R": ".:\nbuild.log\nlogs\n\n./logs:\nworker.log",
        "cat build.log": scenario.files["build.log"],
        "grep -n ERROR logs/worker.log": scenario.files["logs/worker.log"],
    }
    conversation = converse(scenario, shell(outputs))
    conversation.prompt(scenario.objective)
    return conversation


def compacting(converse: Converse) -> Any:
    scenario = load_scenario("compacts-then-loops")
    outputs = {
        "ls": "deploy.log\nstate.txt",
        "cat state.txt": scenario.files["state.txt"],
        "tail -n 5 deploy.log": scenario.files["deploy.log"],
    }
    conversation = converse(scenario, shell(outputs))
    conversation.prompt(scenario.objective)
    return conversation


@pytest.mark.parametrize("name", shipped_scenarios())
def test_every_shipped_scenario_can_be_begun_and_names_its_replies(
    name: str, converse: Converse
) -> None:
    scenario = load_scenario(name)
    conversation = converse(scenario, shell({}))
    conversation.prompt(scenario.objective)

    assert scenario.max_turns is not None
    assert all(reply.name.strip() for reply in scenario.replies)
    assert scenario.reply_to(conversation.context()) is not None


def test_unsupervised_the_stuck_agent_reads_the_same_log_to_the_end(converse: Converse) -> None:
    names = stuck(converse).play(14)

    assert names == ["looks around", *["begins to read the log"] * 2, *[AGAIN] * 11]


def test_no_word_helps_while_the_repeated_result_is_in_the_context(converse: Converse) -> None:
    conversation = stuck(converse)
    conversation.play(5)

    conversation.reminder("You ran `cat build.log` 4 times with the same result.")
    nudged = conversation.play(2)
    conversation.prompt("`cat build.log` does not change. Stop repeating it and use another way.")

    assert nudged == [AGAIN] * 2
    assert conversation.play(2) == [AGAIN] * 2


def test_rolled_back_without_a_word_it_loops_anew(converse: Converse) -> None:
    conversation = stuck(converse)
    conversation.play(5)
    conversation.cut_after(calls=1)

    assert conversation.play(4) == [*["begins to read the log"] * 2, *[AGAIN] * 2]


def rolled_back(converse: Converse, *, keeping: int = 1) -> Any:
    conversation = stuck(converse)
    conversation.play(5)
    conversation.cut_after(calls=keeping)
    conversation.prompt('You called Bash with {"command": "cat build.log"} 4 times in vain.')
    return conversation


@pytest.mark.parametrize("keeping", [1, 2])
def test_rolled_back_and_told_the_command_it_invents_tools(
    converse: Converse, keeping: int
) -> None:
    names = rolled_back(converse, keeping=keeping).play(5)

    assert names == [
        "invents a tool",
        "invents a second tool",
        "invents a third tool",
        "invents a tool",
        "invents a second tool",
    ]


@pytest.mark.parametrize("feedback", ["SearchLogs does not exist.", "Bash exists.", "Go on."])
def test_feedback_without_the_way_out_does_not_end_the_inventing(
    converse: Converse, feedback: str
) -> None:
    conversation = rolled_back(converse)
    conversation.play(2)
    conversation.prompt(feedback)

    assert conversation.play(2) == ["invents a third tool", "invents a tool"]


@pytest.mark.parametrize(
    "feedback",
    [
        "There is no tool SearchLogs.\nTools there are: ToolSearch, Bash.",
        "Use Bash instead of FindInLogs, which does not exist.",
    ],
)
@pytest.mark.parametrize("channel", ["prompt", "reminder"])
def test_told_the_invented_name_and_a_real_one_it_finishes(
    converse: Converse, feedback: str, channel: str
) -> None:
    conversation = rolled_back(converse)
    conversation.play(2)
    getattr(conversation, channel)(feedback)

    assert conversation.play(5) == [
        "goes on with a tool that there is",
        "writes the cause down",
        "finishes",
    ]


def test_names_in_different_reminders_are_no_feedback(converse: Converse) -> None:
    conversation = rolled_back(converse)
    conversation.play(1)
    conversation.reminder(
        "SearchLogs failed.\n</system-reminder>\n<system-reminder>\nBash is there."
    )

    assert conversation.play(1) == ["invents a second tool"]


def test_the_watch_begins_before_the_compaction_and_goes_on_after_it(converse: Converse) -> None:
    conversation = compacting(converse)
    before = conversation.play(3)
    conversation.prompt("Your task is to create a detailed summary of the conversation so far.")
    summary = conversation.scenario.reply_to(conversation.context())
    conversation.messages = []
    conversation.prompt(f"This session is being continued. Summary:\n{summary.text}")
    after = conversation.play(3)
    conversation.prompt("You ran `cat state.txt` in vain. Use another way.")

    assert before == ["looks around", "looks at the state", "looks a second time"]
    assert after == ["keeps watching as the summary says"] * 3
    assert conversation.play(2) == after[:2]


def test_without_a_compaction_the_watch_goes_on_too(converse: Converse) -> None:
    conversation = compacting(converse)
    conversation.play(3)

    assert conversation.play(2) == ["keeps watching"] * 2


@pytest.mark.parametrize("keeping", [1, 2])
def test_rolled_back_past_the_compaction_and_told_the_command_it_finishes(
    converse: Converse, keeping: int
) -> None:
    conversation = compacting(converse)
    conversation.play(4)
    conversation.cut_after(calls=keeping)
    conversation.prompt("You ran `cat state.txt` in vain. Use another way.")

    assert conversation.play(9) == [
        "reads the deployment's log",
        "writes the result down",
        "finishes",
    ]


def test_the_steady_work_repeats_no_call() -> None:
    calls = [call for reply in load_scenario("steady-work").replies for call in reply.calls]

    assert len(calls) == 30
    assert len({call.model_dump_json() for call in calls}) == 30
