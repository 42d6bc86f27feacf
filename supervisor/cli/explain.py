"""`lucid explain`: why a decision was taken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say_json, say_told, short
from supervisor.cli.shared import json_option, open_store, reporting, store_option

if TYPE_CHECKING:
    from supervisor.runtime.explanation import Explanation

__all__ = ["explain"]


@click.command()
@click.argument("decision")
@store_option
@json_option
@reporting
async def explain(decision: str, store: str | None, as_json: bool) -> int:
    """Explain DECISION: its rule, verdict and evidence, what was done before, the limits,
    and what would have happened without what held it up.

    DECISION is an id, or the beginning of one, from 'lucid show SESSION'."""
    from supervisor.runtime.explanation import explain as explained
    from supervisor.runtime.explanation import find_decision

    async with open_store(store) as kept:
        row, found = await find_decision(kept, decision)
        told = await explained(kept, row, found)
    if as_json:
        import msgspec

        say_json(msgspec.json.decode(msgspec.json.encode(told)))
        return Exit.REACHED
    for name, text in _lines(told):
        say_told(f"{name:<10} {text}".rstrip())
    return Exit.REACHED


def _lines(told: Explanation) -> Iterator[tuple[str, str]]:
    from supervisor.core.text import one_line

    decision, verdict = told.decision, told.decision.verdict
    yield "decision", f"{decision.id}, {decision.at.astimezone():%Y-%m-%d %H:%M:%S}"
    yield "session", f"{short(decision.session_id)}, entry {decision.seq}"
    yield "chosen", f"{decision.choice} {decision.action or ''}".strip()
    yield "because", one_line(decision.reason, 1000)
    yield "rule", one_line(told.rule, 500) if told.rule else "none"
    if decision.params:
        said = ", ".join(f"{name}: {value}" for name, value in decision.params.items())
        yield "with", one_line(said, 500)
    for skipped in decision.skipped:
        yield "skipped", f"{skipped.action}: {one_line(skipped.reason, 300)}"
    agent = f" of {short(verdict.agent_id)}" if verdict.agent_id else ""
    yield (
        "verdict",
        f"{verdict.failure_mode}{agent}, {verdict.severity}, confidence {verdict.confidence:.2f}, "
        f"by {verdict.detector}, since entry {verdict.onset_seq}",
    )
    yield "", one_line(verdict.summary, 500)
    yield "evidence", f"entries {', '.join(map(str, verdict.evidence.entries)) or 'none'}"
    for name, value in verdict.evidence.facts.items():
        yield "", one_line(f"{name}: {value}", 300)
    for index, one in enumerate(told.earlier):
        same = ", on the same failure" if one.same_failure else ""
        outcome = one_line(one.outcome or "open", 300)
        yield "before" if not index else "", f"entry {one.seq}: {one.action}{same}: {outcome}"
    for index, limit in enumerate(told.limits):
        yield "limits" if not index else "", limit
    if told.outcome is not None:
        reason = one_line(told.outcome.reason, 300)
        yield "outcome", f"{told.outcome.status} at entry {told.outcome.seq}: {reason}"
    for other in told.alternatives:
        what = f"{other.choice} {other.action or ''}".strip()
        yield "without", f"{other.without}: {what}: {one_line(other.reason, 500)}"
    if not told.reproduced:
        yield "note", "the policy on record decides otherwise now; it may have been changed since"
