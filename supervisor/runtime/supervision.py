"""`Supervision`: one session's way from raw entry to decision and outcome.

Each step is durable before the next: entries are in the store before they are judged,
a decision before its action, an outcome before it moves a ladder.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime

import msgspec
from claude_agent_sdk import SessionKey

from supervisor.core.action import Capability
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry, ToolCall
from supervisor.core.intent import Intent
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.session import SessionState
from supervisor.core.verdict import Verdict
from supervisor.errors import StoreError
from supervisor.metrics import METRICS
from supervisor.policy.engine import decide, matches
from supervisor.policy.history import History
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge, Judged, Trouble, objective_in
from supervisor.runtime.outcomes import Outcomes
from supervisor.store.interface import Incident, Store, StoredEntry

__all__ = ["Event", "Supervision"]

log = logging.getLogger(__name__)

Event = Verdict | Decision | Outcome | Incident
"""What a session's observer is told, in the order it happens."""

_RECENT_CALLS = 256
"""Tool calls remembered as read, to answer `caught_up` at once."""


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Supervision:
    """Stores, judges and decides for one session. Safe to call from several tasks."""

    def __init__(
        self,
        *,
        session_id: str,
        store: Store,
        policy: Policy,
        capabilities: Callable[[str | None], frozenset[Capability]],
        act: Callable[[Decision], None],
        tell: Callable[[Event], None],
        lease: Callable[[], Lease | None] = lambda: None,
        now: Callable[[], datetime] = _utc_now,
    ) -> None:
        """`capabilities(agent_id)` says what can be done to an agent; `act` starts an
        action, `tell` hears every event; both return at once. Writes are made under
        `lease()`, where there is one."""
        self.session_id = session_id
        self.policy = policy
        self.seq = 0
        self._store = store
        self._capabilities = capabilities
        self._act = act
        self._tell = tell
        self._lease = lease
        self._now = now
        self._judge = Judge(session_id, registry.detectors(), policy.detectors)
        self._history = History()
        self._outcomes = Outcomes(self._concerns, self._history.record_effect)
        self._unresolved: set[tuple[str | None, str]] = set()
        self._objective_known = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._recent_calls: deque[str] = deque(maxlen=_RECENT_CALLS)
        self._waiting: dict[str, asyncio.Event] = {}
        self._lock = asyncio.Lock()

    @property
    def unresolved(self) -> bool:
        """Whether a failure was found that no action is known to have cleared."""
        return bool(self._unresolved)

    def is_watching(self, agent_id: str | None) -> bool:
        """Whether an action on this agent waits for its outcome."""
        return self._outcomes.is_open(agent_id)

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last checkpoint before the verdict's onset, in the same transcript."""
        checkpoints = self._judge.checkpoints(verdict.transcript, verdict.agent_id)
        return checkpoints.before(verdict.onset_seq) if checkpoints else None

    def last_checkpoint(self, transcript: str) -> Checkpoint | None:
        """The newest checkpoint of a transcript's main agent."""
        checkpoints = self._judge.checkpoints(transcript)
        return checkpoints.last() if checkpoints else None

    async def take(
        self, key: SessionKey, raws: Sequence[bytes], *, inherited: bool | None = None
    ) -> None:
        """Store raw entries, then judge those that are new. Raises `StoreError` where
        they cannot be stored; nothing is judged then, and taking them again is right.

        A caller that stops waiting, as the SDK does after a minute, stops nothing: what
        is stored would otherwise never be judged.
        """
        task = asyncio.create_task(self._take(key, raws, inherited))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _take(self, key: SessionKey, raws: Sequence[bytes], inherited: bool | None) -> None:
        async with self._lock:
            stored = await self._store.write(
                key,
                raws,
                session_id=self.session_id,
                inherited=inherited,
                lease=self._lease(),
            )
            for entry in stored:
                await self._observe(entry)

    async def prime(self, sdk_session_id: str) -> str | None:
        """Bring a session that is in the store already back to mind: what was done so
        far, and the detectors' state in the given transcript. Returns the newest uuid
        that the store has of that transcript."""
        open_actions = await self._remember()
        newest = None
        async for stored in self._store.entries(self.session_id):
            self.seq = stored.seq
            if stored.transcript == sdk_session_id:
                self._judge.observe(msgspec.structs.replace(stored, inherited=True))
                if not stored.subpath:
                    newest = stored.uuid or newest
        for decision in open_actions:
            reason = "the process ended before it could be judged"
            self._outcomes.opened(decision)
            await self._settle(self._outcomes.superseded(decision, self.seq, self._now(), reason))
        return newest

    async def _remember(self) -> list[Decision]:
        """What was done so far; returns the decisions whose action has no outcome."""
        self._objective_known = (await self._store.session(self.session_id)).objective is not None
        acted: dict[str, Decision] = {}
        for decision in await self._store.decisions(self.session_id):
            self._history.record_decision(decision)
            if decision.choice is Choice.ACT:
                acted[decision.id] = decision
        for outcome in await self._store.outcomes(self.session_id):
            self._history.record_outcome(outcome)
            acted.pop(outcome.decision_id, None)
        return list(acted.values())

    async def settled(self) -> None:
        """Return once everything taken so far was judged."""
        async with self._lock:
            return

    async def intend(self, intent: Intent) -> None:
        """Write a tool call's intent down; durable when it returns."""
        await self._store.record(intent, lease=self._lease())

    async def caught_up(self, call_id: str, within: float) -> bool:
        """Wait until the transcript has been read up to this tool call, at most `within`
        seconds; returns whether it has."""
        if call_id in self._recent_calls:
            return True
        event = self._waiting.setdefault(call_id, asyncio.Event())
        try:
            async with asyncio.timeout(within):
                await event.wait()
        except TimeoutError:
            return False
        finally:
            self._waiting.pop(call_id, None)
        return True

    def queued(self, decision: Decision) -> None:
        """A decision's text waits for a tool boundary."""
        self._outcomes.queued(decision)

    def is_pending(self, decision: Decision) -> bool:
        """Whether a decision's action is still to be judged, and so worth showing."""
        return self._outcomes.is_pending(decision)

    def shown(self, decision: Decision, call_id: str) -> None:
        """A decision's text will be read beside the result of this tool call."""
        self._outcomes.shown(decision, call_id)

    def acted(self, decision: Decision, did: str) -> None:
        """An action was carried out; whether it helped is yet to be seen."""
        self._outcomes.acted(decision, did)

    async def conclude(self, state: SessionState, reason: str = "") -> None:
        """Record how the session stands."""
        await self._keep(
            self._store.update_session(
                self.session_id, state=state, state_reason=reason, lease=self._lease()
            )
        )

    async def moved(self, sdk_session_id: str) -> None:
        """The session's work goes on in another transcript."""
        await self._keep(
            self._store.update_session(self.session_id, head=sdk_session_id, lease=self._lease())
        )

    async def action_failed(self, decision: Decision, error: Exception) -> None:
        """An action could not be carried out: its ladder goes on from there."""
        reason = f"{decision.action} failed: {error}"
        await self.note(f"action:{decision.action}", reason, seq=decision.seq)
        async with self._lock:
            await self._settle(self._outcomes.failed(decision, self.seq, self._now(), reason))

    async def action_superseded(self, decision: Decision, reason: str) -> None:
        """An action was not carried out, because something else came first."""
        async with self._lock:
            await self._settle(self._outcomes.superseded(decision, self.seq, self._now(), reason))

    async def turn_ended(self, stopped: str | None = None) -> None:
        """The main agent yielded, or all were stopped and why: what is open is settled."""
        async with self._lock:
            await self._settle(self._outcomes.turn_ended(self.seq, self._now(), stopped))

    async def finish(self) -> None:
        """The session ends here: ask the detectors for a last word. The agent is gone, so
        nothing is done about it."""
        self._capabilities = lambda agent_id: frozenset()
        async with self._lock:
            judged = self._judge.finish()
            await self._publish(self._answers(judged))
            await self._report(judged.troubles)
            reason = "the session ended before it could be judged"
            await self._settle(self._outcomes.turn_ended(self.seq, self._now(), reason))

    async def note(self, source: str, message: str, *, seq: int | None = None) -> None:
        """Record an incident, count it and tell it."""
        await self._report([Trouble(source, seq, message)])

    async def _observe(self, stored: StoredEntry) -> None:
        judged = self._judge.observe(stored)
        self.seq = stored.seq
        now = self._now()
        settled: list[Outcome] = []
        for entry in judged.entries:
            settled.extend(self._outcomes.observe(entry, now))
            await self._notice(entry, now)
        await self._settle(settled)
        await self._report(judged.troubles)
        await self._publish(self._answers(judged))

    async def _notice(self, entry: Entry, now: datetime) -> None:
        if isinstance(entry, ToolCall):
            self._recent_calls.append(entry.call_id)
            if waiting := self._waiting.get(entry.call_id):
                waiting.set()
        if not self._objective_known and (objective := objective_in([entry])):
            self._objective_known = True
            await self._keep(
                self._store.update_session(
                    self.session_id, objective=objective, lease=self._lease()
                )
            )
        if entry.inherited:
            return
        METRICS.entries.labels(kind=entry.__struct_config__.tag).inc()
        METRICS.last_progress.set(now.timestamp())
        if entry.at is not None:
            METRICS.ingest_lag.observe(max(0.0, (now - entry.at).total_seconds()))

    def _answers(self, judged: Judged) -> list[Event]:
        """The verdicts, what they settle, and a decision on each."""
        events: list[Event] = []
        for verdict in judged.verdicts:
            now = self._now()
            events.append(verdict)
            for outcome in self._outcomes.judged(verdict, now):
                self._history.record_outcome(outcome)
                events.append(outcome)
            decision = decide(
                self.policy,
                verdict,
                self._history,
                now,
                actions=registry.actions(),
                capabilities=self._capabilities(verdict.agent_id),
            )
            self._history.record_decision(decision)
            if decision.choice is Choice.ACT:
                self._outcomes.opened(decision)
            events.append(decision)
        return events

    async def _publish(self, events: Sequence[Event]) -> None:
        """Record events, count and tell them, then start the actions among them."""
        if not events:
            return
        if not await self._keep(self._store.record(*events, lease=self._lease())):
            self._withdraw(events)
            return
        for event in events:
            self._account(event)
            self._tell(event)
        for event in events:
            if isinstance(event, Decision) and event.choice is Choice.ACT:
                self._act(event)

    async def _keep(self, writing: Awaitable[None]) -> bool:
        """Whether the store took it. One that does not is loud, and stops no agent."""
        try:
            await writing
        except StoreError as error:
            log.error("session %s: %s", self.session_id, error)
            METRICS.incidents.labels(source="store").inc()
            return False
        return True

    def _withdraw(self, events: Sequence[Event]) -> None:
        """Unrecorded decisions are not acted on: the audit trail has no holes."""
        for event in events:
            if isinstance(event, Decision) and event.choice is Choice.ACT:
                reason = "not acted on: the decision could not be recorded"
                for outcome in self._outcomes.superseded(event, event.seq, self._now(), reason):
                    self._history.record_outcome(outcome)

    async def _settle(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in outcomes:
            self._history.record_outcome(outcome)
        await self._publish(outcomes)

    def _account(self, event: Event) -> None:
        if isinstance(event, Verdict):
            METRICS.verdicts.labels(event.failure_mode, event.detector, event.severity).inc()
        elif isinstance(event, Decision):
            METRICS.decisions.labels(event.choice, event.action or "").inc()
            if event.choice is Choice.EXHAUSTED:
                self._unresolved.add((event.verdict.agent_id, event.verdict.failure_mode))
        elif isinstance(event, Outcome):
            self._account_outcome(event)

    def _account_outcome(self, outcome: Outcome) -> None:
        METRICS.outcomes.labels(outcome.failure_mode, outcome.action, outcome.status).inc()
        failure = (outcome.agent_id, outcome.failure_mode)
        if outcome.status is OutcomeStatus.CLEARED:
            self._unresolved.discard(failure)
        elif outcome.status is not OutcomeStatus.SUPERSEDED:
            self._unresolved.add(failure)

    async def _report(self, troubles: Sequence[Trouble]) -> None:
        for trouble in troubles:
            incident = Incident(
                session_id=self.session_id,
                seq=trouble.seq,
                at=self._now(),
                source=trouble.source,
                place=f"entry {trouble.seq}" if trouble.seq is not None else "",
                message=trouble.message,
            )
            kind, _, name = trouble.source.partition(":")
            if kind == "detector":
                METRICS.detector_errors.labels(detector=name).inc()
            METRICS.incidents.labels(source=kind).inc()
            log.warning("session %s: %s, %s", self.session_id, trouble.source, incident.place)
            await self._publish([incident])

    def _concerns(self, decision: Decision, verdict: Verdict) -> bool:
        rules = (rule for rule in self.policy.rules if rule.name == decision.rule)
        return any(matches(rule, verdict) for rule in rules)
