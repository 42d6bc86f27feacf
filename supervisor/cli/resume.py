"""`lucid resume`: a session goes on, from the store alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Unpack

import click

from supervisor.cli.agent_options import (
    Asked,
    agent_options,
    metrics_option,
    policy_option,
    submission,
)
from supervisor.cli.draining import grace_option
from supervisor.cli.exits import EXIT_CODES, Exit
from supervisor.cli.output import say, say_json
from supervisor.cli.run import told_to_the_end
from supervisor.cli.shared import (
    json_option,
    open_store,
    reporting,
    serve_metrics_at,
    store_option,
)

if TYPE_CHECKING:
    from supervisor.runtime.submission import Submission
    from supervisor.store.interface import SessionRow, Store

__all__ = ["GoingOn", "gone_on_with", "resume"]


class GoingOn(NamedTuple):
    """How a session is to go on, as the options say."""

    text: str | None
    policy: str | None
    store: str | None
    cwd: Path | None
    files: str | None
    grace: float


@click.command(epilog=EXIT_CODES)
@click.argument("session")
@click.option("--say", "text", metavar="TEXT", help="A prompt for the agent, once it has gone on.")
@policy_option
@store_option
@click.option(
    "--cwd",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    metavar="D",
    help="Where the agent works.  [default: its own folder, or here where that is not]",
)
@click.option(
    "--files",
    type=click.Choice(["restore", "keep"]),
    help="What to do with the agent's files: bring them to the session's last checkpoint, where "
    "one was taken, or leave them.  [default: restore into an empty folder only]",
)
@agent_options
@grace_option
@metrics_option
@json_option
@reporting
async def resume(
    session: str,
    text: str | None,
    policy: str | None,
    store: str | None,
    cwd: Path | None,
    files: str | None,
    grace: float,
    metrics_port: int | None,
    as_json: bool,
    **asked: Unpack[Asked],
) -> int:
    """Go on with SESSION where it was interrupted, from the store alone: on another host,
    in another folder, without its local files.

    What is told to the agent fits what ended its turn: a prompt that never got there is
    sent again, a call that may have run is to be verified first. Where no machine may go
    on, it says why; --say goes on then, with a person's word. Options are as the session
    had them, unless they are given here. The answer of one that was reached is printed.
    """
    going_on = GoingOn(text=text, policy=policy, store=store, cwd=cwd, files=files, grace=grace)
    async with open_store(store) as kept:
        row = await kept.session(session)
        return await gone_on_with(
            row, kept, going_on, asked, metrics_port=metrics_port, as_json=as_json
        )


async def gone_on_with(
    row: SessionRow,
    kept: Store,
    how: GoingOn,
    asked: Asked,
    *,
    metrics_port: int | None,
    as_json: bool,
) -> int:
    """Go on with a session of the store, and tell its story; returns the exit code."""
    from dataclasses import replace
    from datetime import UTC, datetime

    import msgspec

    from supervisor.cli.preflight import preflight
    from supervisor.core.session import SessionState
    from supervisor.runtime.policies import chosen_policy, policy_of
    from supervisor.runtime.runner import SessionRun

    if row.state is SessionState.REACHED and how.text is None:
        return await _print_answer(kept, row, as_json)
    asks = _submitted(row).changed_by(submission(**asked))
    if asked["model"] is not None:
        asks = msgspec.structs.replace(asks, model_since=datetime.now(UTC))
    options = replace(asks.options(_folder(row, how.cwd)), stderr=_claude)
    loaded = policy_of(row) if how.policy is None else chosen_policy(how.policy)
    await preflight(options)
    serve_metrics_at(metrics_port)
    await kept.update_session(row.session_id, submission=asks.text)
    restore = None if how.files is None else how.files == "restore"
    row = msgspec.structs.replace(row, submission=asks.text)
    # A policy that is given is followed when its file changes.
    chosen = loaded if how.policy is None else how.policy
    run = SessionRun(row, kept, options, chosen, say=how.text, restore_files=restore)
    return await told_to_the_end(run, store=how.store, grace=how.grace, as_json=as_json)


def _claude(line: str) -> None:
    say(f"claude: {line}", err=True)


def _submitted(row: SessionRow) -> Submission:
    from supervisor.runtime.submission import Submission

    submitted = Submission.of(row)
    if submitted is None:
        say(
            "lucid: a program began this session, and its options are not on record: those "
            "given here hold, and else the defaults",
            err=True,
        )
    return submitted or Submission(by="run")


def _folder(row: SessionRow, asked: Path | None) -> Path:
    """Where the agent works: as asked, else where it did, else here."""
    own = Path(row.cwd) if row.cwd is not None else None
    if asked is not None or (own is not None and own.is_dir()):
        return asked or own or Path.cwd()
    if own is not None:
        say(f"lucid: its folder {own} is not on this host: going on in {Path.cwd()}", err=True)
    return Path.cwd()


async def _print_answer(store: Store, row: SessionRow, as_json: bool) -> int:
    answer = await _answer(store, row)
    if as_json:
        say_json({"session_id": row.session_id, "state": row.state, "answer": answer})
    else:
        say(answer)
        say("lucid: it was reached already; --say gives it more to do", err=True)
    return Exit.REACHED


async def _answer(store: Store, row: SessionRow) -> str:
    """The main agent's last words."""
    from supervisor.core.entry import Text
    from supervisor.runtime.judge import Judge

    reader = Judge(row.session_id, {}, {})
    said: list[Text] = []
    async for stored in store.entries(row.session_id, transcript=row.head or row.session_id):
        for entry in () if stored.subpath else reader.observe(stored).entries:
            if not isinstance(entry, Text):
                continue
            if said and said[-1].message_id != entry.message_id:
                said.clear()
            said.append(entry)
    return "\n".join(text.text for text in said)
