"""Where the story is told: a live terminal, plain lines, or JSON for machines."""

from __future__ import annotations

import dataclasses
import sys
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from supervisor.cli.beats import LUCIDS, Beat
from supervisor.cli.output import columns, say, say_json, say_told
from supervisor.privacy.redaction import redactor

if TYPE_CHECKING:
    from claude_agent_sdk import Message

    from supervisor.cli.story import Story
    from supervisor.cli.tally import Tally

__all__ = [
    "JsonTerminal",
    "LiveTerminal",
    "PlainTerminal",
    "Terminal",
    "console",
    "rendered",
    "terminal",
]

_STYLES = {
    "call": "cyan",
    "prompt": "bold",
    "verdict": "bold yellow",
    "decision": "bold magenta",
    "incident": "bold red",
    "api": "red",
    "unknown": "yellow",
    "result error": "red",
    "outcome cleared": "bold green",
    "outcome failed": "bold red",
    "outcome relapsed": "bold red",
}
"""By kind, or by kind and the title's last word."""

_PIPE_WIDTH = 100
"""Columns of a table that goes to a pipe or a file."""

_NO_ACTION = frozenset({"observe", "no_rule", "waiting", "cooldown", "exhausted"})


class Terminal(Protocol):
    """Tells a session's story as it happens, and its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, message: Message, tally: Tally) -> None:
        """Tell the next message; `tally` has counted it already."""

    def close(self, headline: str, summary: list[tuple[str, str]], data: dict[str, object]) -> None:
        """Tell how it ended, in words or as data."""


class PlainTerminal:
    """One line a beat, for pipes and logs."""

    def __init__(self, story: Story) -> None:
        self._story = story

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message's lines."""
        for beat in self._story.beats(message):
            say_told(str(beat))

    def close(self, headline: str, summary: list[tuple[str, str]], data: dict[str, object]) -> None:
        """Print the summary."""
        if self._story.in_brief:
            summary = []
        say(f"\n{headline}" if summary else headline)
        for line in columns(summary) if summary else ():
            say(f"  {line}")


class JsonTerminal(PlainTerminal):
    """One JSON object a line: each message under its type, then the summary."""

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message whole."""
        say_json({"message": type(message).__name__, **dataclasses.asdict(message)})

    def close(self, headline: str, summary: list[tuple[str, str]], data: dict[str, object]) -> None:
        """Print the summary."""
        say_json({"message": "LucidSummary", **data})


class LiveTerminal:
    """Lines that scroll, above a status that stays. A line that repeats is counted."""

    def __init__(self, console: Console, story: Story, *, moving: bool = True) -> None:
        """Without `moving` there is no status, and the console can be recorded."""
        self._console = console
        self._story = story
        self._spinner = Spinner("dots", style="dim")
        self._live = Live(console=console, refresh_per_second=8, transient=True) if moving else None
        self._last: Beat | None = None
        self._times = 0

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.update("")
            self._live.stop()
        self._settle()

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message's lines above the status."""
        for beat in self._story.beats(message):
            if beat != self._last:
                self._settle()
                self._last = beat
            self._times += 1
        if self._live is not None:
            self._spinner.update(text=Text(_status(tally), style="dim"))
            self._live.update(Group(*self._pending(), self._spinner))

    def close(self, headline: str, summary: list[tuple[str, str]], data: dict[str, object]) -> None:
        """Print the summary."""
        end = Text(headline, style="bold")
        if self._story.in_brief:
            self._console.print(end)
            return
        table = Table.grid(padding=(0, 2))
        for name, value in summary:
            table.add_row(Text(name, style="dim"), Text(value))
        self._console.print(Group(Text(""), end, table))

    def _settle(self) -> None:
        """Print the last line for good; it will not be seen again."""
        for line in self._pending():
            self._console.print(line)
        self._last, self._times = None, 0

    def _pending(self) -> list[RenderableType]:
        return [] if self._last is None else [rendered(self._last, times=self._times)]


def _status(tally: Tally) -> str:
    parts = [_several(tally.tool_calls, "tool call")]
    if tally.verdicts:
        parts.append(_several(tally.verdicts.total(), "verdict"))
    return " · ".join([*parts, *tally.outcomes[-2:]])


def _several(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def rendered(beat: Beat, *, lead: str = "", times: int = 1, faded: bool = False) -> Table:
    """A beat as one line of a terminal, behind a `lead`. What the agent did is cut to the
    width; what Lucid did is folded, none of it lost. Nothing in it is taken for markup."""
    redact = redactor().text
    lucids = beat.kind in LUCIDS or (beat.kind, beat.title) == ("prompt", "lucid")
    acted = lucids and beat.title not in _NO_ACTION
    style = "dim" if faded else _style(beat)
    text = Text(no_wrap=not lucids, overflow="fold" if lucids else "ellipsis")
    if beat.headline:
        text.append(redact(beat.headline), style=style).append("  ")
    quiet = faded or beat.kind in ("result", "skipped") or (lucids and not acted)
    text.append(redact(beat.text), style="dim" if quiet else "default")
    grid = Table.grid(padding=(0, 1))
    grid.add_column(no_wrap=True)
    grid.add_column(no_wrap=True)
    grid.add_column()
    mark = Text().append(lead, "dim").append("▌" if acted else " ", style)
    count = [Text(f"×{times}", style="bold", no_wrap=True)] if times > 1 else []  # noqa: RUF001 - a sign
    grid.add_row(mark, Text(f"{beat.kind:<8}", style="dim"), text, *count)
    return grid


def _style(beat: Beat) -> str:
    if beat.title in _NO_ACTION:
        return "dim"
    last = beat.title.rpartition(" ")[2]
    return _STYLES.get(f"{beat.kind} {last}", _STYLES.get(beat.kind, "dim"))


class _Console(Console):
    def on_broken_pipe(self) -> None:
        # rich would end the process on the spot, with a code of its own.
        raise BrokenPipeError


def console(record_width: int | None = None) -> Console:
    """Standard output for what is more than lines. With `record_width`, in columns, what
    is printed is kept as well, to be saved as a picture."""
    width = record_width or (None if sys.stdout.isatty() else _PIPE_WIDTH)
    return _Console(highlight=False, record=record_width is not None, width=width)


def terminal(
    *, as_json: bool = False, in_brief: bool = False, on: Console | None = None
) -> Terminal:
    """The way to tell the story on this standard output."""
    from supervisor.cli.story import Story  # and with it the Agent SDK

    story = Story(in_brief=in_brief)
    screen = on if on is not None else console()
    if as_json:
        return JsonTerminal(story)
    if screen.record or screen.is_terminal:
        return LiveTerminal(screen, story, moving=not screen.record)
    return PlainTerminal(story)
