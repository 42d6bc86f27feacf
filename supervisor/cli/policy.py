"""`lucid policy`: work on policies."""

from __future__ import annotations

from pathlib import Path

import click

from supervisor.cli.exits import Exit
from supervisor.cli.shared import reporting

__all__ = ["policy"]


@click.group()
def policy() -> None:
    """Work on policies."""


@policy.command()
@click.argument("file", type=click.Path(path_type=Path))
@reporting
async def check(file: Path) -> int:
    """Check the policy FILE (or a shipped policy's name); list every fault with its place."""
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry

    source = file if file.exists() or file.suffix else str(file)
    loaded = load_policy(source, detectors=registry.detectors(), actions=registry.actions())
    click.echo(f"{file}: fine, mode {loaded.mode}")
    for rule in loaded.rules:
        ladder = " -> ".join(rung.action for rung in rule.ladder)
        click.echo(f"  {rule.name}: on {', '.join(rule.on)}: {ladder}")
    return Exit.REACHED
