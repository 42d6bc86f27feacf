"""What an agent is told when its interrupted turn goes on.

The texts do not repeat the objective: it stands in the transcript, and twice is one time
too many. They name the calls whose outcome is not known, since measured agents repeat
what they cannot see that they did (27 of 30 side effects, after a kill). Arguments are
the transcript's and untrusted: they are quoted and bounded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

import msgspec

from supervisor.core.feedback import addressed, quote
from supervisor.core.interruption import Fate, GoOn, Interruption, LostCall

__all__ = ["continue_prompt", "going_on", "verify_prompt"]

_CALLS = 20
_ARGUMENTS = 12
_ARGUMENT = 300  # characters
_NAME = re.compile(r"[A-Za-z_]\w{0,39}", re.ASCII)

_WENT_WRONG = "Your turn was interrupted by a fault that you could not help."
_NOT_ASKED_TO_STOP = (
    'Lines such as "[Request interrupted by user]" or "No response requested." are the '
    "runtime's: nobody asked you to stop."
)
_GO_ON = (
    "Go on with the task from where it stands. Do not begin anew, and do not repeat steps "
    "whose results you see."
)
_VERIFY = (
    "These tool calls ran, wholly or in part, or may have, and you do not see what came of them:"
)
_BEFORE_REPEATING = (
    "Before you repeat one of them, or rely on it, verify what it did, with calls that only "
    "read. Do what is not done, and do not do again what is."
)
_NOT_RUN = "These tool calls were not begun, whatever is written in place of their results:"
_CUT_OFF = "These subagents did not finish and are not at work any more:"
_TOO_LARGE = (
    "What a tool call returned was too large for your context. That call and all after it were "
    "taken out of it; ask for less at a time."
)

_FATES: dict[Fate, str] = {
    Fate.UNKNOWN: "no result was recorded",
    Fate.CUT_OFF: "interrupted while it ran",
    Fate.IN_BACKGROUND: "was at work in the background, and is not any more",
    Fate.UNREPORTED: "ran to its end, which was not reported",
    Fate.OUT_OF_SIGHT: "ran to its end; its result was taken out of your context",
    Fate.NOT_RUN: "not begun",
}


def continue_prompt(not_run: Sequence[LostCall] = ()) -> str:
    """For a turn of which nothing is in doubt; `not_run` are calls that were not begun."""
    return addressed(
        "\n".join([_WENT_WRONG, *_list(_NOT_RUN, not_run), _NOT_ASKED_TO_STOP, _GO_ON])
    )


def verify_prompt(
    calls_in_doubt: Sequence[LostCall],
    *,
    not_run: Sequence[LostCall] = (),
    agents_cut_off: Sequence[str] = (),
) -> str:
    """For a turn in which calls may have run: names them, and asks to verify before
    repeating."""
    doubts = _doubts(calls_in_doubt, not_run, agents_cut_off)
    return addressed("\n".join([_WENT_WRONG, *doubts, _NOT_ASKED_TO_STOP, _GO_ON]))


def going_on(interruption: Interruption) -> str | None:
    """What Lucid has to say when the turn goes on; None where nothing needs saying.

    Where `interruption.asks_again`, the turn's own prompt goes first, as it was sent, and
    this after it, in the same message.
    """
    if interruption.go_on in {GoOn.STOP, GoOn.HAND_OVER}:
        return None
    doubts = _doubts(
        interruption.calls_in_doubt, interruption.calls_not_run, interruption.agents_cut_off
    )
    in_doubt = interruption.calls_in_doubt or interruption.agents_cut_off
    match interruption.go_on:
        case GoOn.PAUSE:
            return addressed("\n".join(doubts)) if in_doubt else None
        case GoOn.ROLL_BACK:
            return addressed("\n".join([_TOO_LARGE, *doubts, _GO_ON]))
        case _ if in_doubt:
            return addressed("\n".join([_WENT_WRONG, *doubts, _NOT_ASKED_TO_STOP, _GO_ON]))
        case _ if interruption.asks_again:
            return None
        case _:
            return continue_prompt(interruption.calls_not_run)


def _doubts(
    calls_in_doubt: Sequence[LostCall],
    not_run: Sequence[LostCall],
    agents_cut_off: Sequence[str],
) -> list[str]:
    agents = [f"- {quote(agent, 40)}" for agent in agents_cut_off[:_CALLS]]
    return [
        *_list(_VERIFY, calls_in_doubt),
        *([_CUT_OFF, *agents] if agents else []),
        *_list(_NOT_RUN, not_run),
        _BEFORE_REPEATING,
    ]


def _list(title: str, calls: Sequence[LostCall]) -> list[str]:
    if not calls:
        return []
    more = len(calls) - _CALLS
    rest = [f"- and {more} more, which the transcript names"] if more > 0 else []
    return [title, *(_said(call) for call in calls[:_CALLS]), *rest]


def _said(call: LostCall) -> str:
    agent = f", called by your subagent {quote(call.agent_id, 40)}" if call.agent_id else ""
    return f"- {_name(call.tool)}({_arguments(call.input)}): {_FATES[call.fate]}{agent}"


def _name(text: str) -> str:
    return text if _NAME.fullmatch(text) else quote(text, 80)


def _arguments(raw: msgspec.Raw) -> str:
    try:
        given = msgspec.json.decode(raw, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return quote(bytes(raw).decode(errors="replace"), _ARGUMENT)
    said = [f"{_name(name)}={_value(value)}" for name, value in list(given.items())[:_ARGUMENTS]]
    return ", ".join([*said, "…"] if len(given) > _ARGUMENTS else said)


def _value(value: object) -> str:
    if isinstance(value, bool | int | float) or value is None:
        return json.dumps(value)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    cut = f" (cut: {len(text)} characters)" if len(text) > _ARGUMENT else ""
    return quote(text, _ARGUMENT) + cut
