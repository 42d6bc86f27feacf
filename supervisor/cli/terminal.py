"""Where the story is told: a live terminal, plain lines, or JSON for machines."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from types import TracebackType
from typing import Protocol, Self

from claude_agent_sdk import Message
from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from supervisor.cli.story import Beat, Tally, beats_of_message

__all__ = ["JsonTerminal", "LiveTerminal", "PlainTerminal", "Terminal", "beat_text", "terminal"]

_STYLES = {
    "agent": "default",
    "call": "cyan",
    "result": "dim",
    "prompt": "bold",
    "verdict": "bold yellow",
    "decision": "bold magenta",
    "outcome": "bold green",
    "incident": "bold red",
}

Summary = Sequence[tuple[str, str]]


class Terminal(Protocol):
    """Tells a session's story as it happens, and its end."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def show(self, message: Message, tally: Tally) -> None:
        """Tell the next message."""

    def close(self, headline: str, summary: Summary) -> None:
        """Tell how it ended."""


class PlainTerminal:
    """One line a beat, for pipes and logs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        return None

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message's lines."""
        for beat in beats_of_message(message):
            print(beat, flush=True)

    def close(self, headline: str, summary: Summary) -> None:
        """Print the summary."""
        print(f"\n{headline}")
        for name, value in summary:
            print(f"  {name:<11} {value}")


class JsonTerminal(PlainTerminal):
    """One JSON object a line: each message under its type, then the summary."""

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message whole."""
        fields = dataclasses.asdict(message)
        self._print({"message": type(message).__name__, **fields})

    def close(self, headline: str, summary: Summary) -> None:
        """Print the summary."""
        self._print({"message": "LucidSummary", "headline": headline, **dict(summary)})

    @staticmethod
    def _print(value: object) -> None:
        print(json.dumps(value, default=str), flush=True)


class LiveTerminal:
    """Lines that scroll, over a status that stays."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._live.stop()

    def show(self, message: Message, tally: Tally) -> None:
        """Print the message's lines above the status."""
        for beat in beats_of_message(message):
            self._live.console.print(beat_text(beat))
        self._live.update(self._status(tally))

    def close(self, headline: str, summary: Summary) -> None:
        """Replace the status by the summary."""
        self._live.stop()
        table = Table.grid(padding=(0, 2))
        for name, value in summary:
            table.add_row(Text(name, style="dim"), Text(value))
        self._console.print(Group(Text(""), Text(headline, style="bold"), table))

    @staticmethod
    def _status(tally: Tally) -> Spinner:
        parts = [f"{tally.tool_calls} tool calls"]
        if tally.verdicts:
            parts.append(f"{sum(tally.verdicts.values())} verdicts")
        parts.extend(tally.outcomes[-2:])
        return Spinner("dots", Text(" · ".join(parts), style="dim"))


def beat_text(beat: Beat) -> Text:
    """A beat as styled text; nothing in it is taken for markup."""
    style = _STYLES.get(beat.kind, "default")
    if beat.kind == "result" and beat.title == "error":
        style = "red"
    text = Text(f"{beat.kind:<8} ", style="dim")
    if beat.title:
        text.append(f"{beat.title}  ", style=style)
    text.append(beat.text, style="dim" if beat.kind in ("result", "skipped") else "default")
    return text


def terminal(as_json: bool) -> Terminal:
    """The way to tell the story on this standard output."""
    if as_json:
        return JsonTerminal()
    if sys.stdout.isatty():
        return LiveTerminal(Console(highlight=False))
    return PlainTerminal()
