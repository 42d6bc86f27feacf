"""The `lucid` command group. Each command's module is imported when it is used."""

from __future__ import annotations

import importlib
from importlib.metadata import version
from keyword import iskeyword

import click

__all__ = ["lucid"]

_COMMANDS = {
    "run": ("supervisor.cli.run", "Run an agent on an objective, supervised."),
    "submit": ("supervisor.cli.work", "Queue a session for a worker."),
    "worker": ("supervisor.cli.work", "Run queued sessions, and those whose worker is gone."),
    "sidecar": ("supervisor.cli.sidecar", "Supervise agents as they are, from beside them."),
    "hooks": ("supervisor.cli.hooks", "Have agents post their hooks to a sidecar."),
    "adopt": ("supervisor.cli.adopt", "Take an agent over from its sidecar, with all of Lucid."),
    "resume": ("supervisor.cli.resume", "Go on with a session, from the store alone."),
    "approve": ("supervisor.cli.answer", "Let a paused session go on, or end as it is."),
    "reject": ("supervisor.cli.answer", "Send a paused session back to work."),
    "say": ("supervisor.cli.answer", "Tell a session something, running or not."),
    "sessions": ("supervisor.cli.look", "List the sessions in the store."),
    "show": ("supervisor.cli.look", "Show a session's timeline, with what Lucid did in place."),
    "explain": ("supervisor.cli.explain", "Explain a decision: why, and what else it could be."),
    "replay": ("supervisor.cli.look", "Run the detectors over a stored session again."),
    "scan": ("supervisor.cli.scan", "Find out what went wrong in old transcript files."),
    "eval": ("supervisor.cli.evaluate", "Measure the detectors on labelled traces."),
    "train": ("supervisor.cli.train", "Learn the risk of failure from labelled traces."),
    "export": ("supervisor.cli.keep", "Write a session to a file."),
    "import": ("supervisor.cli.keep", "Put an exported session into the store."),
    "key": ("supervisor.cli.key", "Make a key to encrypt the store with."),
    "seal": ("supervisor.cli.key", "Encrypt what the store held before its newest key."),
    "prune": ("supervisor.cli.keep", "Delete old sessions."),
    "policy": ("supervisor.cli.policy", "Work on policies."),
    "gauntlet": ("supervisor.cli.gauntlet", "Run failing agents with and without Lucid."),
    "demo": ("supervisor.cli.demo", "See Lucid bring an agent back: offline, no API key."),
}


class _Commands(click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        name = f"{cmd_name}_" if iskeyword(cmd_name) else cmd_name
        command = getattr(importlib.import_module(_COMMANDS[cmd_name][0]), name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, about) for name, (_, about) in _COMMANDS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        # click suggests the nearest names only for options; do so for commands too.
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from difflib import get_close_matches

            nearest = get_close_matches(args[0], _COMMANDS, n=1)
            hint = f" Did you mean {nearest[0]!r}?" if nearest else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("lucid-supervisor"), prog_name="lucid")
def lucid() -> None:
    """Lucid keeps AI agents lucid: it watches an agent's transcript for loops, invented
    tools and other failures that raise no exception, brings the agent back by policy, and
    checks whether that helped.
    """
