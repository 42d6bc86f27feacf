"""Serve a scenario from a shell: `python -m supervisor.testing SCENARIO`."""

from __future__ import annotations

import asyncio
import itertools
import shlex
import tempfile
from pathlib import Path

import click

from supervisor.testing.model import ScriptedModel
from supervisor.testing.scenario import Scenario, ScenarioError, load_scenario


@click.command()
@click.argument("scenario")
@click.option("--port", default=0, show_default="a free one", help="Port to listen on.")
@click.option(
    "--home",
    type=click.Path(path_type=Path, file_okay=False),
    help="Where the CLI keeps its files. [default: a new temporary folder]",
)
@click.option(
    "--prepare",
    type=click.Path(path_type=Path, file_okay=False),
    help="Write the scenario's files into this folder first.",
)
def main(scenario: str, port: int, home: Path | None, prepare: Path | None) -> None:
    """Play SCENARIO, a YAML file or the name of a shipped one, until Ctrl-C.

    Prints the environment for a CLI that is to use it, then a line a request.
    """
    try:
        loaded = load_scenario(scenario)
        if prepare is not None:
            loaded.prepare(prepare)
    except ScenarioError as error:
        raise click.ClickException(str(error)) from error
    home = home or Path(tempfile.mkdtemp(prefix="lucid-scripted-"))
    try:
        asyncio.run(_serve(loaded, port, home))
    except OSError as error:
        raise click.ClickException(f"cannot listen on port {port}: {error}") from error
    except KeyboardInterrupt:
        click.echo("stopped", err=True)


async def _serve(scenario: Scenario, port: int, home: Path) -> None:
    async with ScriptedModel(scenario, port=port) as model:
        click.echo(f"# {model.base_url} plays: {' '.join(scenario.about.split())}")
        if scenario.objective:
            click.echo(f"# objective: {' '.join(scenario.objective.split())}")
        for name, value in model.env(home).items():
            click.echo(f"export {name}={shlex.quote(value)}")
        for number in itertools.count(1):
            await model.wait_for(number, within=None)
            click.echo(f"# request {number}: {model.requests[number - 1].reply}")


if __name__ == "__main__":
    main(prog_name="python -m supervisor.testing")
