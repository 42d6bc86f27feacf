"""`lucid policy`: work on policies."""

from __future__ import annotations

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say
from supervisor.cli.shared import reporting

__all__ = ["policy"]


@click.group()
def policy() -> None:
    """Work on policies."""


@policy.command(short_help="Check a policy; list every fault with its place.")
@click.argument("file")
@reporting
async def check(file: str) -> int:
    """Check the policy FILE, or a shipped policy by its name; list every fault with its
    place."""
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    loaded = load_policy(file, detectors=registry.detectors(), actions=registry.actions())
    say(f"{file}: fine, mode {loaded.mode}")
    for rule in loaded.rules:
        ladder = " -> ".join(rung.action for rung in rule.ladder)
        say(f"  {rule.name}: on {', '.join(rule.on)}: {ladder}")
    return Exit.REACHED
