"""How often each action helped in a session, and what that took."""

from __future__ import annotations

from collections import Counter

import msgspec

from supervisor.core.decision import Choice
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.runtime.bearings import Meter
from supervisor.runtime.judge import Judge
from supervisor.store.interface import SessionRow, Store

__all__ = ["Effect", "effects_in"]


class Effect(msgspec.Struct, frozen=True, kw_only=True):
    """An action against one failure mode. What was superseded counts only as taken."""

    failure_mode: str
    action: str
    taken: int
    helped: int
    """Cleared, and not come back."""
    failed: int
    tokens: int
    """Read and written by all agents from the decisions to the outcomes."""


async def effects_in(store: Store, session: SessionRow) -> list[Effect]:
    """What a session's actions did, the most frequent first."""
    decisions = await store.decisions(session.session_id)
    acted = {one.id: one for one in decisions if one.choice is Choice.ACT}
    if not acted:
        return []
    last: dict[str, Outcome] = {}
    until: dict[str, int] = {}  # a relapse comes later, and is not the action's doing
    for outcome in await store.outcomes(session.session_id):
        last[outcome.decision_id] = outcome
        until.setdefault(outcome.decision_id, outcome.seq)
    spent = await _spent(store, session)
    taken: Counter[tuple[str, str]] = Counter()
    helped: Counter[tuple[str, str]] = Counter()
    failed: Counter[tuple[str, str]] = Counter()
    tokens: Counter[tuple[str, str]] = Counter()
    for identity, decision in acted.items():
        key = (str(decision.verdict.failure_mode), decision.action or "")
        taken[key] += 1
        settled = last.get(identity)
        if settled is None:
            continue
        tokens[key] += max(0, spent.get(until[identity], 0) - spent.get(decision.seq, 0))
        helped[key] += settled.status is OutcomeStatus.CLEARED
        failed[key] += settled.status in (OutcomeStatus.FAILED, OutcomeStatus.RELAPSED)
    return [
        Effect(
            failure_mode=key[0],
            action=key[1],
            taken=times,
            helped=helped[key],
            failed=failed[key],
            tokens=tokens[key],
        )
        for key, times in taken.most_common()
    ]


async def _spent(store: Store, session: SessionRow) -> dict[int, int]:
    """The tokens taken up to each entry."""
    reader, meter = Judge(session.session_id, {}, {}), Meter()
    spent: dict[int, int] = {}
    async for stored in store.entries(session.session_id):
        entries = reader.observe(stored).entries
        if not stored.inherited:
            meter.take(entries)
        spent[stored.seq] = meter.tokens
    return spent
