"""`lucid demo`: the same agent with the same fault, once alone and once supervised."""

from __future__ import annotations

import asyncio
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say, short
from supervisor.cli.shared import fail, open_store, program, reporting, store_argument

if TYPE_CHECKING:
    from claude_agent_sdk import ClaudeAgentOptions
    from rich.console import Console

    from supervisor.cli.comparison import Run
    from supervisor.testing import Scenario

__all__ = ["demo"]

_SCENARIO = "stuck-then-phantom"
_TASK = "cause.txt"
"""The file that the agent is asked to write."""

_LIMIT_SECONDS = 120.0
"""For one run, which takes about six seconds on two cores."""

_PICTURE_WIDTH = 112


@click.command()
@click.option(
    "--svg",
    type=click.Path(path_type=Path, dir_okay=False, writable=True),
    metavar="F",
    help="Save a picture of it as well; docs/demo.svg is made so.",
)
@reporting
async def demo(svg: Path | None) -> int:
    """See Lucid bring an agent back: offline, without an API key, in about 15 seconds.

    The agent is the real Claude Code on a scripted model, which repeats itself and then
    calls a tool that does not exist. It runs alone first, until its turn limit, then
    supervised. Exits with 0 where it did its task supervised and not alone.
    """
    from claude_agent_sdk import ClaudeSDKError

    from supervisor.cli.comparison import comparison
    from supervisor.cli.terminal import console

    screen = console(record_width=_PICTURE_WIDTH if svg is not None else None)
    noise: list[str] = []
    try:
        alone, supervised = await _both(screen, noise)
    except (ClaudeSDKError, TimeoutError) as error:
        for line in noise:
            say(f"claude: {line}", err=True)
        what = str(error).split("\n")[0] or f"not done after {_LIMIT_SECONDS:.0f} seconds"
        return fail(f"the demo did not work: {what}", Exit.BROKEN)
    screen.print(comparison(alone, supervised, _TASK))
    if svg is not None:
        _save_picture(screen, svg)
    if alone.done or not supervised.done:
        return fail("this is not how the demo ought to end: please report it", Exit.GAVE_UP)
    say("\nNext: see that session in full, look through your past ones, or start one:")
    say(f"  {program()} {supervised.show}")
    say(f"  {program()} scan ~/.claude/projects")
    say(f'  {program()} run "what you want done"')
    return Exit.REACHED


def _save_picture(screen: Console, file: Path) -> None:
    """Draw what was printed, as an SVG that loads no font from elsewhere."""
    drawn = screen.export_svg(title="lucid demo", unique_id="lucid-demo")
    drawn = re.sub(r"@font-face \{.*?\}\s*", "", drawn, flags=re.DOTALL)
    file.write_text(drawn, encoding="utf-8")


async def _both(screen: Console, noise: list[str]) -> tuple[Run, Run]:
    from rich.text import Text

    def heading(name: str, text: str) -> Text:
        return Text.assemble((name, "bold"), text)

    with tempfile.TemporaryDirectory(prefix="lucid-demo-", ignore_cleanup_errors=True) as folder:
        async with _stage(Path(folder, "alone"), noise) as (scenario, options):
            limit = f": {options.max_turns} turns at the most"
            screen.print(heading("The task: ", scenario.objective or ""))
            screen.print()
            screen.print(heading("1. The agent alone", limit))
            alone = await _alone(screen, scenario, options)
        async with _stage(Path(folder, "supervised"), noise) as (scenario, options):
            screen.print()
            screen.print(heading("2. The same agent with Lucid", limit))
            supervised = await _supervised(screen, scenario, options)
    return alone, supervised


@asynccontextmanager
async def _stage(
    folder: Path, noise: list[str]
) -> AsyncIterator[tuple[Scenario, ClaudeAgentOptions]]:
    """A scripted model that runs, and options for an agent that has all its files in
    `folder`. What the CLI writes on standard error is added to `noise`."""
    from claude_agent_sdk import ClaudeAgentOptions

    from supervisor.testing import ScriptedModel, load_scenario

    scenario = load_scenario(_SCENARIO)
    work, temporary = folder / "work", folder / "tmp"
    scenario.prepare(work)
    temporary.mkdir()
    async with asyncio.timeout(_LIMIT_SECONDS), ScriptedModel(scenario) as model:
        places = {"TMPDIR": str(temporary), "CLAUDE_CODE_TMPDIR": str(temporary)}
        yield (
            scenario,
            ClaudeAgentOptions(
                env=model.env(folder / "home") | places,
                cwd=work,
                max_turns=scenario.max_turns,
                permission_mode="bypassPermissions",
                setting_sources=[],
                stderr=noise.append,
            ),
        )


async def _alone(screen: Console, scenario: Scenario, options: ClaudeAgentOptions) -> Run:
    from claude_agent_sdk import ClaudeSDKClient

    from supervisor.cli.comparison import Run
    from supervisor.cli.tally import Tally
    from supervisor.cli.terminal import terminal

    tally, told = Tally(), terminal(on=screen, in_brief=True)
    async with ClaudeSDKClient(options) as client:
        with told:
            await client.query(scenario.objective or "")
            async for message in client.receive_response():
                tally.count(message)
                told.show(message, tally)
    result = tally.results[-1]
    finished, why = not result.is_error, _in_words(result.terminal_reason or result.subtype)
    told.close("Finished" if finished else f"Stopped: {why}", [], {})
    return Run(tally, finished, why, (Path(options.cwd or ".") / _TASK).exists())


def _in_words(reason: str) -> str:
    return "ran into its turn limit" if reason == "max_turns" else reason


async def _supervised(screen: Console, scenario: Scenario, options: ClaudeAgentOptions) -> Run:
    from supervisor.cli.comparison import Run
    from supervisor.cli.telling import tell
    from supervisor.cli.terminal import terminal
    from supervisor.core.session import SessionState
    from supervisor.runtime.policies import chosen_policy
    from supervisor.runtime.runner import SessionRun
    from supervisor.runtime.submission import Submission, new_session

    kept = Path(tempfile.mkdtemp(prefix="lucid-demo-")) / "lucid.db"
    objective, policy, asks = (
        scenario.objective or "",
        chosen_policy("default"),
        Submission(by="run"),
    )
    told = terminal(on=screen, in_brief=True)
    async with open_store(str(kept)) as store:
        place = Path(options.cwd or ".")
        state = SessionState.RUNNING
        row = await new_session(store, objective, asks, policy, cwd=place, state=state)
        ending = await tell(SessionRun(row, store, options, policy), told)
    finished = ending.state is SessionState.REACHED
    wrote = (Path(options.cwd or ".") / _TASK).exists()
    show = f"show {short(ending.session_id)}{store_argument(kept)}"
    return Run(ending.tally, finished, _in_words(ending.reason), wrote, show)
