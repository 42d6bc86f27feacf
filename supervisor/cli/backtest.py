"""`lucid policy backtest`: what a policy would have done."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from supervisor.cli.output import columns, say, say_json, short

if TYPE_CHECKING:
    from supervisor.runtime.backtest import Change, Line, Tested

__all__ = ["print_backtest", "tried"]


async def tried(
    policy: str, against: str | None, sources: Sequence[str]
) -> tuple[list[Tested], list[Tested] | None]:
    """The sessions under the policy, and under the other one if there is one."""
    from supervisor.policy.load import load_policy
    from supervisor.runtime import registry
    from supervisor.runtime.backtest import backtest, opened

    plugins = {"detectors": registry.detectors(), "actions": registry.actions()}
    chosen = load_policy(policy, **plugins)  # type: ignore[arg-type] # by their names
    other = None if against is None else load_policy(against, **plugins)  # type: ignore[arg-type] # by their names
    async with opened(sources) as store:
        after = [one async for one in backtest(chosen, store)]
        before = None if other is None else [one async for one in backtest(other, store)]
    return after, before


def print_backtest(after: list[Tested], before: list[Tested] | None, *, as_json: bool) -> None:
    """Print what would have been done and, where there is another policy, what changed."""
    from supervisor.runtime.backtest import changes, summed_up

    lines = summed_up(after)
    changed = [] if before is None else changes(before, after)
    if as_json:
        _print_json(after, lines, changed)
        return
    for line in _told(after, lines):
        say(line)
    if before is not None:
        say()
        for line in _changed(changed):
            say(line)


def _print_json(after: list[Tested], lines: list[Line], changed: list[Change]) -> None:
    import msgspec

    for one in after:
        for decision in one.done:
            said = msgspec.json.decode(msgspec.json.encode(decision))
            say_json({"item": "decision", **said})
    for line in lines:
        say_json({"item": "sum", **msgspec.to_builtins(line)})
    for change in changed:
        say_json({"item": "change", **msgspec.to_builtins(change)})
    say_json({"item": "total", **_total(after)})


def _total(after: list[Tested]) -> dict[str, int]:
    return {
        "sessions": len(after),
        "entries": sum(one.entries for one in after),
        "verdicts": sum(len(one.decisions) for one in after),
        "acted_on": sum(bool(one.done) for one in after),
        "actions": sum(len(one.done) for one in after),
        "ended": sum(one.ended_at is not None for one in after),
    }


def _told(after: list[Tested], lines: list[Line]) -> Iterator[str]:
    total = _total(after)
    yield (
        f"{total['sessions']} sessions, {total['entries']} entries, {total['verdicts']} verdicts: "
        f"{total['actions']} actions in {total['acted_on']} sessions, {total['ended']} ended"
    )
    if not lines:
        return
    yield ""
    rows = [("times", "sessions", "rule", "action", "first at")]
    rows += [
        (
            str(line.times),
            str(line.sessions),
            line.rule,
            line.action if line.choice == "act" else f"{line.action} (observed)",
            _place(line.first),
        )
        for line in lines
    ]
    yield from columns(rows, right=frozenset({0, 1}))
    yield ""
    yield "As if no action had changed anything: each session goes on as it went."


def _changed(changed: list[Change]) -> Iterator[str]:
    if not changed:
        yield "the other policy decides the same"
        return
    yield f"{sum(change.times for change in changed)} verdicts are answered differently"
    yield ""
    rows = [("times", "before", "now", "first at")]
    rows += [
        (str(change.times), change.before, change.after, _place(change.first)) for change in changed
    ]
    yield from columns(rows, right=frozenset({0}))


def _place(place: tuple[str, int]) -> str:
    return f"{short(place[0])} entry {place[1]}"
