"""Two runs of one agent side by side: alone, and supervised."""

from __future__ import annotations

from dataclasses import dataclass

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from supervisor.cli.tally import Tally
from supervisor.core.text import one_line

__all__ = ["Run", "comparison"]

_OUTCOME_STYLES = {"cleared": "green", "failed": "red", "relapsed": "red"}


@dataclass(frozen=True)
class Run:
    """How one run went."""

    tally: Tally
    finished: bool
    """Whether the agent came to its own end."""
    why: str
    """Why it did not, in the SDK's word."""
    wrote: bool
    """Whether the file that the task asks for is there."""
    show: str = ""
    """The command that shows it; empty where it was not kept."""

    @property
    def done(self) -> bool:
        """Whether the task was done."""
        return self.finished and self.wrote


def comparison(alone: Run, supervised: Run, task: str) -> Table:
    """Both runs in one table; `task` is the file that the agent was to write."""
    table = Table(
        box=SIMPLE_HEAD,
        pad_edge=False,
        caption="Tokens are the scripted model's estimate; the cost is what the CLI makes of them.",
        caption_justify="left",
        caption_style="dim",
    )
    table.add_column("")
    table.add_column("alone", min_width=14)
    table.add_column("with Lucid")
    table.add_row("finished", _finished(alone), _finished(supervised))
    table.add_row(task, _wrote(alone), _wrote(supervised))
    for (name, one), (_, other) in zip(alone.tally.spent, supervised.tally.spent, strict=True):
        table.add_row(name, one, other)
    table.add_row("what Lucid did", Text("nothing", "dim"), _did(supervised.tally))
    return table


def _finished(run: Run) -> Text:
    return Text("yes", "bold green") if run.finished else Text(f"no: {run.why}", "bold red")


def _wrote(run: Run) -> Text:
    return Text("written", "green") if run.wrote else Text("not written", "red")


def _did(tally: Tally) -> Table:
    """Each action, what came of it, and why it was taken."""
    steps = Table.grid(padding=(0, 1))
    for number, acted in enumerate(tally.acted.values(), start=1):
        style = _OUTCOME_STYLES.get(acted.status, "default")
        did = Text(acted.action, "bold magenta").append(": ", "default").append(acted.status, style)
        steps.add_row(f"{number}.", did)
        steps.add_row("", Text(one_line(acted.why, 120), "dim"))
    return steps
