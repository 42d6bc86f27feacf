"""How soon an agent is talked to once it is found failing: the real SDK and CLI.

The agent looks at one file over and over; the policy corrects it, which ends its turn. It is
timed from the decision on the verdict to Lucid's prompt being on its way to the agent, the end
of the call that runs by then included. No process is started for that; where one is (a fork,
or a turn with a limit of its own), its start comes on top.

- `act_ms`: median milliseconds, at most 100
- `act_ms_worst`: the longest of all
"""

from __future__ import annotations

import asyncio
import tempfile
from pathlib import Path
from statistics import median

from claude_agent_sdk import ClaudeAgentOptions

from supervisor import supervised_query
from supervisor.core.decision import Choice
from supervisor.core.entry import LUCID_MARKER
from supervisor.policy.load import parse_policy
from supervisor.runtime import registry
from supervisor.store.sqlite import SqliteStore
from supervisor.testing import Scenario, ScriptedModel

_SESSIONS = 9
_LOOK = {"tool": "Bash", "input": {"command": "cat state.txt", "description": "Look"}}
_LOOPS = Scenario.model_validate(
    {
        "about": "Looks at the same file until it is told.",
        "files": {"state.txt": "pending\n"},
        "replies": [
            {"name": "ends", "when": {"told": "interrupted by your supervisor"}, "text": "So."},
            {"name": "looks", "calls": [_LOOK]},
        ],
    }
)
_POLICY = "version: 1\nrules: [{name: loops, on: loop, ladder: [correct]}]\n"


def measure() -> dict[str, float]:
    """See the module."""
    asyncio.run(_milliseconds())  # the first run reads the CLI and the packages from disk
    times = [asyncio.run(_milliseconds()) for _ in range(_SESSIONS)]
    return {"act_ms": median(times), "act_ms_worst": max(times)}


async def _milliseconds() -> float:
    policy = parse_policy(
        _POLICY, "bench", detectors=registry.detectors(), actions=registry.actions()
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        _LOOPS.prepare(folder / "work")
        async with ScriptedModel(_LOOPS) as model, SqliteStore(folder / "bench.db") as store:
            options = ClaudeAgentOptions(
                env=model.env(folder / "home"),
                cwd=folder / "work",
                permission_mode="bypassPermissions",
            )
            stream = supervised_query(
                prompt="What became of it?", options=options, policy=policy, store=store
            )
            _ = [message async for message in stream]
            return await _between(store)


async def _between(store: SqliteStore) -> float:
    """Milliseconds from the session's first decision that was acted on to the prompt."""
    (row,) = await store.sessions()
    decisions = await store.decisions(row.session_id)
    decided = next(one.at for one in decisions if one.choice is Choice.ACT)
    prompts = await store.prompts(row.session_id)
    said = next(one.at for one in prompts if one.text.startswith(LUCID_MARKER))
    return (said - decided).total_seconds() * 1_000
