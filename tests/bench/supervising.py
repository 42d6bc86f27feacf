"""What supervision costs a whole session: the real SDK and CLI, a model that answers at once.

The scenario is `steady-work`: 30 tool calls, in which no rule fires. A real model's time
would only make the ratio smaller.

- `bare_wall_s`: median seconds without supervision
- `supervised_wall_s`: median seconds with it, under the default policy
- `supervised_wall_ratio`: the second over the first, median of pairs run in turn
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from statistics import median
from time import perf_counter

from claude_agent_sdk import ClaudeAgentOptions, Message, ResultMessage, query

from supervisor import supervised_query
from supervisor.testing import ScriptedModel, load_scenario

_PAIRS = 7
_CALLS = 30

Run = Callable[[str, ClaudeAgentOptions, Path], AsyncIterator[Message]]


def measure() -> dict[str, float]:
    """See the module."""
    return asyncio.run(_measure())


async def _measure() -> dict[str, float]:
    await _seconds(_supervised)  # the first run reads the CLI and the packages from disk
    pairs: list[tuple[float, float]] = []
    for number in range(_PAIRS):
        if number % 2:
            bare = await _seconds(_bare)
            pairs.append((bare, await _seconds(_supervised)))
        else:
            supervised = await _seconds(_supervised)
            pairs.append((await _seconds(_bare), supervised))
    return {
        "bare_wall_s": median(bare for bare, _ in pairs),
        "supervised_wall_s": median(supervised for _, supervised in pairs),
        "supervised_wall_ratio": median(supervised / bare for bare, supervised in pairs),
    }


def _bare(prompt: str, options: ClaudeAgentOptions, folder: Path) -> AsyncIterator[Message]:
    return query(prompt=prompt, options=options)


def _supervised(prompt: str, options: ClaudeAgentOptions, folder: Path) -> AsyncIterator[Message]:
    return supervised_query(
        prompt=prompt, options=options, policy="default", store=folder / "bench.db"
    )


async def _seconds(run: Run) -> float:
    """One session, from its prompt to the end of its process."""
    scenario = load_scenario("steady-work").model_copy(update={"delay": 0.0})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "work").mkdir()
        scenario.prepare(folder / "work")
        async with ScriptedModel(scenario) as model:
            options = ClaudeAgentOptions(
                env=model.env(folder / "home"),
                cwd=folder / "work",
                permission_mode="bypassPermissions",
                max_turns=scenario.max_turns,
            )
            began = perf_counter()
            messages = [m async for m in run(scenario.objective or "", options, folder)]
            seconds = perf_counter() - began
    results = [message for message in messages if isinstance(message, ResultMessage)]
    if len(results) != 1 or results[0].is_error or results[0].num_turns <= _CALLS:
        raise SystemExit(f"the session did not run to its end: {results}")
    return seconds
