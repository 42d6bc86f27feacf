"""The three ways to run a trial: alone, tried again blindly, and supervised.

Calls and tokens are counted at the model and side effects on the disk, so that they mean
the same in each way.
"""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field, replace
from enum import StrEnum
from pathlib import Path
from typing import TypeGuard

import yaml
from claude_agent_sdk import (
    ClaudeAgentOptions,
    ClaudeSDKClient,
    Message,
    ResultMessage,
    SystemMessage,
)

from supervisor.core.decision import Choice
from supervisor.core.session import SessionState
from supervisor.core.text import one_line
from supervisor.gauntlet.trial import Trial, repeated_effects
from supervisor.runtime.client import SupervisedClient
from supervisor.testing import RecordedRequest, ScriptedModel
from supervisor.testing.request import decode
from supervisor.testing.usage import estimate_input, estimate_output

__all__ = ["ATTEMPTS", "Run", "Way", "run_bare", "run_supervised"]

ATTEMPTS = 3
"""How often a blind retry tries in all."""

_FIRST_WAIT = 1.0
"""Seconds before the second attempt, doubled for the third."""

_REASON = 60
"""Characters of an error that stand in a table."""


class Way(StrEnum):
    """How a trial is run."""

    ALONE = "alone"
    RETRY = "retry"
    SUPERVISED = "supervised"


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one way of running a trial came to."""

    way: Way
    finished: bool
    """The task is done, and the session ended by itself and without an error."""
    ended: str
    """How it ended, in a word or two."""
    attempts: int
    calls: int
    """Tool calls that the model made, those of subagents included."""
    repeated: int
    """Side effects that had taken place before."""
    tokens: int
    """Read and written by the model, estimated: four characters are one."""
    actions: tuple[str, ...] = ()
    """What the supervisor did, in order."""


@dataclass
class _Ending:
    """How one session went."""

    how: str = "no result"
    answer: str = ""
    is_error: bool = True
    actions: list[str] = field(default_factory=list)

    def take(self, message: Message) -> None:
        if isinstance(message, ResultMessage):
            self.is_error = message.is_error
            self.answer = message.result or ""
            self.how = message.terminal_reason or message.subtype
        elif _is_action(message):
            self.actions.append(message.data["action"])

    def broke(self, error: BaseException) -> None:
        self.is_error = True
        said = one_line(str(error).partition(" (")[0], _REASON)
        self.how = "out of time" if isinstance(error, TimeoutError) else said


class _Stage:
    """A folder with an agent in it, and the model that the agent asks."""

    def __init__(self, trial: Trial, model: ScriptedModel, folder: Path) -> None:
        self.trial = trial
        self.model = model
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        trial.prepare(self.work)
        temporary = folder / "tmp"
        temporary.mkdir()
        places = {"TMPDIR": str(temporary), "CLAUDE_CODE_TMPDIR": str(temporary)}
        self.options = ClaudeAgentOptions(
            env=model.env(folder / "home") | places,
            cwd=self.work,
            model="claude-sonnet-5",
            permission_mode="bypassPermissions",
            setting_sources=[],
            max_turns=trial.max_turns,
            stderr=lambda line: None,
        )

    def run(self, way: Way, ending: _Ending, attempts: int = 1) -> Run:
        """What has come of it so far."""
        is_done = self.trial.is_done(self.work, ending.answer)
        replies = {reply.name: reply for reply in self.trial.replies}
        given = [replies[one.reply] for one in self.model.requests if one.reply in replies]
        landed = [reply for reply in given if reply.fault is None]
        read = sum(_input_tokens(request) for request in self.model.requests)
        return Run(
            way=way,
            finished=is_done and not ending.is_error,
            ended=ending.how,
            attempts=attempts,
            calls=sum(len(reply.calls) for reply in landed),
            repeated=repeated_effects(self.work),
            tokens=read + sum(map(estimate_output, landed)),
            actions=tuple(ending.actions),
        )


async def run_bare(trial: Trial, folder: Path) -> tuple[Run, Run]:
    """The trial alone, and tried again blindly: a new session with the same prompt in the
    same folder, as a workflow engine begins a step anew. The first attempt is the run alone.

    The retries are done a favour that no workflow engine could do them: they end when the
    task is done, and go on where a session claims so and it is not.
    """
    # Replies take their time for the sake of a supervisor beside the agent. Here is none.
    trial = trial.model_copy(update={"delay": 0.0})
    runs: list[Run] = []
    async with ScriptedModel(trial) as model:
        stage = _Stage(trial, model, folder)
        for attempt in range(1, ATTEMPTS + 1):
            ending = await _attempt(stage)
            runs.append(stage.run(Way.ALONE, ending, attempt))
            if runs[-1].finished or attempt == ATTEMPTS:
                break
            await asyncio.sleep(_FIRST_WAIT * 2 ** (attempt - 1))
    _tell_story(model, folder)
    return runs[0], replace(runs[-1], way=Way.RETRY)


async def run_supervised(trial: Trial, folder: Path, policy: str | None = None) -> Run:
    """The trial under Lucid, by its own policy or by one that is to be tried out."""
    ending, state = _Ending(), SessionState.BROKEN
    async with ScriptedModel(trial) as model:
        stage = _Stage(trial, model, folder)
        client = SupervisedClient(
            stage.options, policy=policy or _policy_of(trial, folder), store=folder / "lucid.db"
        )
        try:
            async with asyncio.timeout(trial.patience), client:
                try:
                    await _play(client, trial.objective, ending)
                finally:
                    state = client.state[0]
        except Exception as error:  # noqa: BLE001 - as below; one that breaks is not to end all
            ending.broke(error)
        if state is not SessionState.REACHED:
            ending.is_error, ending.how = True, str(state)
        run = stage.run(Way.SUPERVISED, ending)
    _tell_story(model, folder)
    return run


async def _attempt(stage: _Stage) -> _Ending:
    ending = _Ending()
    try:
        async with asyncio.timeout(stage.trial.patience), ClaudeSDKClient(stage.options) as client:
            await _play(client, stage.trial.objective, ending)
    except Exception as error:  # noqa: BLE001 - the SDK raises bare ones where its CLI ends
        ending.broke(error)
    return ending


async def _play(
    client: ClaudeSDKClient | SupervisedClient, objective: str, ending: _Ending
) -> None:
    await client.query(objective)
    async for message in client.receive_response():
        ending.take(message)


def _is_action(message: Message) -> TypeGuard[SystemMessage]:
    if not isinstance(message, SystemMessage) or message.subtype != "lucid_decision":
        return False
    return bool(message.data["choice"] == Choice.ACT)


def _policy_of(trial: Trial, folder: Path) -> str | Path:
    if isinstance(trial.policy, str):
        return trial.policy
    file = folder / "policy.yaml"
    file.write_text(yaml.safe_dump(trial.policy, sort_keys=False), encoding="utf-8")
    return file


def _input_tokens(request: RecordedRequest) -> int:
    return estimate_input(decode(json.dumps(request.body).encode()))


def _tell_story(model: ScriptedModel, folder: Path) -> None:
    """Leave what the model was asked and answered in the folder, for who wants to look."""
    names = [f"{one.at:%H:%M:%S.%f} {one.reply}" for one in model.requests]
    (folder / "replies.txt").write_text("\n".join([*names, *model.refused, ""]), encoding="utf-8")
    bodies = "\n".join(json.dumps(one.body["messages"]) for one in model.requests[-1:])
    (folder / "last-request.json").write_text(bodies, encoding="utf-8")
