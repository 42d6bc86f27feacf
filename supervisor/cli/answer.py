"""`lucid approve`, `lucid reject`, `lucid say`: a person answers a session."""

from __future__ import annotations

import getpass
import socket
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say as tell
from supervisor.cli.output import say_json, short
from supervisor.cli.shared import (
    json_option,
    open_store,
    program,
    reporting,
    store_argument,
    store_option,
)

if TYPE_CHECKING:
    from supervisor.core.word import Saying

__all__ = ["approve", "reject", "say"]


@click.command()
@click.argument("session")
@click.argument("words", required=False, default="")
@store_option
@json_option
@reporting
async def approve(session: str, words: str, store: str | None, as_json: bool) -> int:
    """Approve of what the paused SESSION does, or has done.

    One that was paused in the midst of its work goes on; WORDS are passed on to its agent.
    One that was about to end has reached its objective, unless there are WORDS: then its
    agent hears them first.
    """
    from supervisor.core.word import Saying

    return await _answered(session, Saying.APPROVE, words, store, as_json)


@click.command()
@click.argument("session")
@click.argument("why", required=False, default="")
@store_option
@json_option
@reporting
async def reject(session: str, why: str, store: str | None, as_json: bool) -> int:
    """Reject what the paused SESSION does, or has done: its agent is told, with WHY, and
    goes on otherwise."""
    from supervisor.core.word import Saying

    return await _answered(session, Saying.REJECT, why, store, as_json)


@click.command()
@click.argument("session")
@click.argument("words")
@store_option
@json_option
@reporting
async def say(session: str, words: str, store: str | None, as_json: bool) -> int:
    """Tell SESSION's agent WORDS.

    While it runs, on whatever host, the agent reads them beside its next tool result; else
    when the session goes on, which a worker sees to if it was submitted to one.
    """
    from supervisor.core.word import Saying

    return await _answered(session, Saying.SAY, words, store, as_json)


async def _answered(
    session: str, saying: Saying, text: str, store: str | None, as_json: bool
) -> int:
    from supervisor.runtime.answering import Answered, answer

    async with open_store(store) as kept:
        row = await kept.session(session)
        answered = await answer(kept, row, saying, text.strip(), by=_who())
    if as_json:
        say_json({"session_id": row.session_id, "said": saying, "answered": answered})
        return Exit.REACHED
    resume = f"{program()} resume {short(row.session_id)}{store_argument(store)}"
    tell(
        {
            Answered.FINISHED: "The session has reached its objective.",
            Answered.QUEUED: "A worker goes on with it.",
            Answered.WAITS: f"Its agent hears it when it goes on: {resume}",
            Answered.ON_ITS_WAY: "Its agent reads it at its next tool call.",
        }[answered]
    )
    return Exit.REACHED


def _who() -> str:
    try:
        return f"{getpass.getuser()}@{socket.gethostname()}"
    except (OSError, KeyError):
        return socket.gethostname()
