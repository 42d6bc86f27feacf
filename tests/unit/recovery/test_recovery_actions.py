"""What each action does to an agent, and what the agent gets to read."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from recovery.abort import Abort
from recovery.correct import Correct, CorrectParams
from recovery.nudge import Nudge, NudgeParams
from recovery.rollback import Rollback, RollbackParams
from supervisor.core.decision import Decision
from supervisor.core.entry import LUCID_MARKER
from supervisor.core.feedback import feedback
from supervisor.errors import ActionError
from supervisor.runtime import registry
from tests.unit.recovery.conftest import CHECKPOINT, RecordingAgent, params_of

pytestmark = pytest.mark.anyio

ACTIONS = registry.actions()
TALKING = [name for name, action in ACTIONS.items() if "message" in action.Params.model_fields]


async def test_a_nudge_adds_context_and_interrupts_nothing(
    agent: RecordingAgent, decision: Decision
) -> None:
    result = await Nudge().run(decision, NudgeParams(), agent)

    assert [what for what, _ in agent.done] == ["add_context"]
    assert result.detail == "context added at the next tool boundary"


async def test_a_correction_interrupts_and_prompts(
    agent: RecordingAgent, decision: Decision
) -> None:
    result = await Correct().run(decision, CorrectParams(), agent)

    assert [what for what, _ in agent.done] == ["prompt"]
    assert "You were interrupted by your supervisor." in agent.said
    assert agent.said.endswith("Then go on with the task.\n</lucid>")
    assert result.detail


async def test_a_rollback_branches_at_the_checkpoint_before_the_onset(
    agent: RecordingAgent, decision: Decision
) -> None:
    result = await Rollback().run(decision, RollbackParams(), agent)

    ((what, (checkpoint, _)),) = agent.done
    assert (what, checkpoint) == ("branch", CHECKPOINT)
    assert not agent.restores_files
    assert "rolled back to entry 5, before the onset at 7" in result.detail


async def test_a_rollback_asks_for_the_files_where_the_policy_says_so(
    agent: RecordingAgent, decision: Decision
) -> None:
    params = RollbackParams(files="restore")
    await Rollback().run(decision, params, agent)

    assert agent.restores_files
    assert params.restores_files


async def test_a_rollback_goes_back_to_before_all_that_the_ladder_has_dealt_with(
    agent: RecordingAgent, decision: Decision
) -> None:
    result = await Rollback().run(replace(decision, since_seq=4), RollbackParams(), agent)

    assert result.detail.endswith("before the onset at 4, and prompted")


async def test_there_may_be_nothing_to_roll_back_to(decision: Decision) -> None:
    agent = RecordingAgent(checkpoint=None)
    with pytest.raises(ActionError, match="no checkpoint before entry 7"):
        await Rollback().run(decision, RollbackParams(), agent)
    assert agent.done == []


async def test_an_abort_stops_the_agent_for_the_decisions_reason(
    agent: RecordingAgent, decision: Decision
) -> None:
    result = await Abort().run(decision, Abort.Params(), agent)

    assert agent.done == [("stop", decision.reason)]
    assert result.detail == "stopped by the policy"


@pytest.mark.parametrize("name", TALKING)
async def test_the_agent_reads_what_failed_its_evidence_and_a_way_out(
    name: str, agent: RecordingAgent, decision: Decision
) -> None:
    action = ACTIONS[name]
    await action().run(decision, params_of(action), agent)

    assert feedback(decision.verdict) in agent.said
    assert "without progress" in agent.said
    assert '- tool: "Bash"' in agent.said
    assert "- repetitions: 3" in agent.said


@pytest.mark.parametrize("name", TALKING)
@pytest.mark.parametrize("message", [None, "Read the manual."])
async def test_what_the_agent_reads_is_marked_as_lucids(
    name: str, message: str | None, agent: RecordingAgent, decision: Decision
) -> None:
    action = ACTIONS[name]
    await action().run(decision, params_of(action, message=message), agent)

    assert agent.said.startswith(LUCID_MARKER + "\n")
    assert agent.said.endswith("\n</lucid>")
    assert agent.said.count("</lucid>") == 1, "what is quoted does not end Lucid's words"
    assert "\x1b" not in agent.said


@pytest.mark.parametrize("name", TALKING)
async def test_a_policys_own_message_takes_the_place_of_the_description(
    name: str, agent: RecordingAgent, decision: Decision
) -> None:
    action = ACTIONS[name]
    params = params_of(action, message="Read the manual.")
    await action().run(decision, params, agent)

    assert "Read the manual." in agent.said
    assert "without progress" not in agent.said


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_action_needs_what_it_does(
    name: str, agent: RecordingAgent, decision: Decision
) -> None:
    action = ACTIONS[name]
    await action().run(decision, params_of(action), agent)

    assert {what for what, _ in agent.done} == {str(need) for need in action.needs}


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_action_says_in_one_line_what_it_did(
    name: str, agent: RecordingAgent, decision: Decision
) -> None:
    action = ACTIONS[name]
    result = await action().run(decision, params_of(action), agent)

    assert result.detail
    assert "\n" not in result.detail


@pytest.mark.parametrize("name", ACTIONS)
async def test_an_agent_that_refuses_is_an_error_of_the_actions(
    name: str, decision: Decision
) -> None:
    action = ACTIONS[name]
    with pytest.raises(ActionError, match="the turn ended first"):
        await action().run(decision, params_of(action), RecordingAgent(refuses=True))
