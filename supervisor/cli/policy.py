"""`lucid policy`: work on policies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say
from supervisor.cli.shared import json_option, reporting

if TYPE_CHECKING:
    from supervisor.policy.model import Policy

__all__ = ["policy"]

_MODES = ("wrapper", "transport", "sidecar", "audit")


@click.group()
def policy() -> None:
    """Work on policies."""


@policy.command(short_help="Check a policy; list every fault with its place.")
@click.argument("file")
@click.option(
    "--for",
    "run_mode",
    type=click.Choice(_MODES),
    default="wrapper",
    show_default=True,
    metavar="MODE",
    help=f"How agents are run: {', '.join(_MODES)}.",
)
@reporting
async def check(file: str, run_mode: str) -> int:
    """Check the policy FILE, or a shipped policy by its name; list every fault with its
    place. Tell its rules in the order in which they are tried, and what of them cannot
    run in MODE."""
    from supervisor.policy.load import load_policy
    from supervisor.policy.reach import RunMode, out_of_reach
    from supervisor.runtime import registry

    actions = registry.actions()
    loaded = load_policy(file, detectors=registry.detectors(), actions=actions)
    say(f"{file}: fine, mode {loaded.mode}")
    for rule in loaded.rules:
        say(f"  {rule}")
    for line in _order(loaded):
        say(line)
    for lack in out_of_reach(loaded, RunMode(run_mode), actions=actions):
        say(f"lucid: {lack}", err=True)
    return Exit.REACHED


def _order(policy: Policy) -> Iterator[str]:
    """Which rules are tried for one verdict, where there are several."""
    rules = [rule for rule in policy.rules if rule.enabled]
    modes = dict.fromkeys(mode for rule in rules for mode in rule.on)
    several = {mode: [rule.name for rule in rules if mode in rule.on] for mode in modes}
    several = {mode: names for mode, names in several.items() if len(names) > 1}
    if several:
        yield "the first rule that matches decides:"
    for mode, names in several.items():
        yield f"  {mode}: {', then '.join(names)}"


@policy.command(short_help="Print the JSON Schema of policies, for editors.")
@reporting
async def schema() -> int:
    """Print the JSON Schema of policies, with the settings of every detector and action
    that is installed. An editor that reads it completes keys and marks faults."""
    import json

    from supervisor.policy.schema import policy_schema
    from supervisor.runtime import registry

    found = policy_schema(registry.detectors(), registry.actions())
    click.echo(json.dumps(found, indent=2))
    return Exit.REACHED


@policy.command(short_help="Run the tests of policies.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path, exists=True, dir_okay=False))
@reporting
async def test(files: tuple[Path, ...]) -> int:
    """Run policy tests: NAME.test.yaml files, each a stream of verdicts or a transcript and
    the decisions that are expected. Without FILES, those of this folder, else those of the
    shipped policies. Exits with 1 where a test fails."""
    from supervisor.policy.cases import read_cases
    from supervisor.policy.shipped import shipped_tests, tests_here
    from supervisor.runtime.casework import run_cases

    failed = 0
    for file in files or tests_here() or shipped_tests():
        cases = read_cases(file)
        failures = run_cases(cases)
        names = {failure.case for failure in failures}
        count = len(cases.cases)
        done = f"{len(names)} of {count} failed" if names else f"{count} ok"
        say(f"{file}: {done}")
        for failure in failures:
            say(f"  {failure.place}: {failure.case}: {failure.reason}")
        failed += len(names)
    return Exit.GAVE_UP if failed else Exit.REACHED


@policy.command(short_help="Tell what a policy would have done in old sessions.")
@click.argument("file", metavar="POLICY")
@click.argument("sources", nargs=-1, required=True, metavar="PATH...")
@click.option("--against", metavar="POLICY", help="Another policy; tell what differs from it.")
@json_option
@reporting
async def backtest(file: str, sources: tuple[str, ...], against: str | None, as_json: bool) -> int:
    """Tell what POLICY would have done in old sessions: how often, and where.

    A PATH is a transcript file, a folder of them such as ~/.claude/projects, or a store.
    The sessions go as they went, as if no action had changed anything, so a ladder climbs
    as it would with an agent that heeds nobody."""
    from supervisor.cli.backtest import print_backtest, tried

    after, before = await tried(file, against, sources)
    print_backtest(after, before, as_json=as_json)
    return Exit.REACHED
