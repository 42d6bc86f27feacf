"""`Supervision`: one session's way from raw entry to decision and outcome.

Each step is durable before the next: entries are in the store before they are judged,
a decision before its action, an outcome before it moves a ladder.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import msgspec

from supervisor.core.action import ActionResult, Capability, Opinion
from supervisor.core.checkpoint import Checkpoint
from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry
from supervisor.core.intent import Intent
from supervisor.core.interruption import Failure, Interruption
from supervisor.core.lease import Lease
from supervisor.core.outcome import Outcome
from supervisor.core.session import SessionState
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.core.word import Heard
from supervisor.errors import ActionError
from supervisor.metrics import METRICS
from supervisor.policy.engine import matches
from supervisor.policy.model import Policy
from supervisor.runtime import registry
from supervisor.runtime.account import Event, Stopwatch, store_asked
from supervisor.runtime.bearings import Bearings
from supervisor.runtime.chain import Gaps
from supervisor.runtime.checking import ask_about_work
from supervisor.runtime.diagnosis import diagnose_stored, verdict_on
from supervisor.runtime.journal import Journal
from supervisor.runtime.judge import Judge, Trouble, objective_in
from supervisor.runtime.progress import Progress
from supervisor.runtime.prompts import Prompts
from supervisor.runtime.ruling import Ruling
from supervisor.runtime.second_opinion import SecondOpinion, question_on
from supervisor.runtime.stops import Stops
from supervisor.store.interface import Store, StoredEntry

if TYPE_CHECKING:
    from claude_agent_sdk import SessionKey

__all__ = ["OPINIONS_AT_END_SECONDS", "Event", "Supervision"]

log = logging.getLogger(__name__)

OPINIONS_AT_END_SECONDS = 5.0
"""How long the end of a session, whose agent is gone, is put off for second opinions that
are under way, so that they are on record."""


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
        labels: Mapping[str, str] | None = None,
        hand_over: str = "",
    ) -> None:
        """`capabilities(agent_id)` says what can be done to an agent; `act` starts an
        action, `tell` hears every event; both return at once. Writes are made under
        `lease()`, where there is one. For `hand_over` see `Ruling`."""
        self.session_id = session_id
        self.seq = 0
        self._store = store
        self._act = act
        self._lease = lease
        self._now = now
        self._judge = Judge(
            session_id, registry.detectors(), policy.detectors, policy.risk, Stopwatch()
        )
        self.bearings = Bearings(session_id, labels)
        """What the session took so far."""
        self._journal = Journal(session_id, store, tell=tell, lease=lease, now=now)
        self._journal.account.decides_by(policy)
        self._stops = Stops(policy)
        self._ruling = Ruling(
            policy,
            self._journal,
            self.bearings,
            self._stops,
            capabilities=capabilities,
            decided=self._decided,
            now=now,
            hand_over=hand_over,
        )
        self.outcomes = self._ruling.outcomes
        """What came of its actions so far."""
        self.progress = Progress()
        """How far its transcripts were read."""
        self._prompts = Prompts(session_id)
        self._opinions = policy.judge and SecondOpinion(
            policy.judge,
            would_act=lambda verdict: any(matches(rule, verdict) for rule in self.policy.rules),
            read=lambda verdict: question_on(store, verdict, self.progress.turn_seq),
            confirmed=self._confirmed,
            note=self.note,
        )
        self.objective: str | None = None
        """What the session is for; None until that is known."""
        self.gaps: tuple[int, ...] = ()
        """Entries of a resumed transcript whose parent is not there."""
        self._decided_on: set[str] = set()
        """The verdicts that a former worker decided on."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._lock = asyncio.Lock()

    def began(self) -> None:
        """This process supervises the session from now on: `/metrics` shows it."""
        self._journal.began()

    def ended(self) -> None:
        """It does no more. Once more does no harm."""
        self._journal.ended()

    async def use(self, policy: Policy) -> None:
        """Decide by another policy from now on. What its rules, limits and mode say holds at
        once; what was set up for the session (detectors, files, the judge) stays."""
        async with self._lock:
            self._ruling.policy = policy
        await self._journal.policy(policy.model_dump_json())

    @property
    def policy(self) -> Policy:
        """What is decided by now."""
        return self._ruling.policy

    @property
    def outage_mark(self) -> str:
        """Where the model answered last: as long as it stays, an outage lasts."""
        return f"after {self.progress.output_seq}"

    def ends_with(self, verdict: Verdict) -> bool:
        """Whether a verdict is about the words with which the main agent ends its turn."""
        last = self.progress.output_seq
        return self.progress.rests and verdict.agent_id is None and verdict.seq >= last

    @property
    def last_prompt(self) -> dict[str, Any] | None:
        """What was put to the agent last, as it was sent."""
        return self._prompts.newest

    @property
    def unresolved(self) -> bool:
        """Whether a failure was found that no action is known to have cleared."""
        return self._journal.account.unresolved

    @property
    def why_not_reached(self) -> str:
        """What speaks against it that the objective was reached; empty where nothing does."""
        if self.unresolved:
            return "the agent finished with a failure unresolved"
        return self._stops.unchecked

    def checkpoint_before(self, verdict: Verdict) -> Checkpoint | None:
        """The last checkpoint before the verdict's onset, in the same transcript."""
        checkpoints = self._judge.checkpoints(verdict.transcript, verdict.agent_id)
        return checkpoints.before(verdict.onset_seq) if checkpoints else None

    def checkpoint_at(self, transcript: str, before: int) -> Checkpoint | None:
        """The last checkpoint of a transcript's main agent before the entry `before`."""
        checkpoints = self._judge.checkpoints(transcript)
        return checkpoints.before(before) if checkpoints else None

    def last_checkpoint(self, transcript: str) -> Checkpoint | None:
        """The newest checkpoint of a transcript's main agent."""
        checkpoints = self._judge.checkpoints(transcript)
        return checkpoints.last() if checkpoints else None

    async def take(
        self,
        key: SessionKey,
        raws: Sequence[bytes],
        *,
        inherited: bool | None = None,
        offsets: Sequence[int] | None = None,
    ) -> None:
        """Store raw entries, then judge those that are new; see `Store.write`. Raises
        `StoreError` where they cannot be stored; nothing is judged then, and taking them
        again is right.

        A caller that stops waiting, as the SDK does after a minute, stops nothing: what
        is stored would otherwise never be judged.
        """
        task = asyncio.create_task(self._take(key, raws, inherited, offsets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        await asyncio.shield(task)

    async def _take(
        self,
        key: SessionKey,
        raws: Sequence[bytes],
        inherited: bool | None,
        offsets: Sequence[int] | None,
    ) -> None:
        async with self._lock:
            with store_asked("write"):
                stored = await self._store.write(
                    key,
                    raws,
                    session_id=self.session_id,
                    inherited=inherited,
                    offsets=offsets,
                    lease=self._lease(),
                )
            for entry in stored:
                await self._observe(entry)

    async def judge(self, stored: Iterable[StoredEntry]) -> None:
        """Judge entries that were stored for it by somebody else, and are its next."""
        async with self._lock:
            for entry in stored:
                await self._observe(entry)

    async def prime(self, sdk_session_id: str, judged_to: int | None = None) -> None:
        """Bring a session that is in the store already back to mind: what was done so
        far, and the detectors' state in the given transcript. Entries behind `judged_to`,
        if that is given, were stored and perhaps not judged: they are now."""
        left_open = await self._remember()
        gaps = Gaps()
        behind: list[StoredEntry] = []
        async for stored in self._store.entries(self.session_id):
            if judged_to is not None and stored.seq > judged_to:
                behind.append(stored)
                continue
            self.seq = stored.seq
            if stored.transcript == sdk_session_id:
                self.progress.note_line(stored)
                judged = self._judge.observe(msgspec.structs.replace(stored, inherited=True))
                self.bearings.take(stored, judged.entries)
                if not stored.subpath:
                    gaps.take(stored.uuid, judged.entries)
                for entry in judged.entries:
                    self.progress.note(entry, inherited=stored.inherited)
        self.gaps = gaps.found()
        await self._ruling.give_up(left_open, self.seq)
        for stored in behind:
            if stored.transcript == sdk_session_id:
                await self._observe(stored)

    async def _remember(self) -> Iterable[Decision]:
        """What was done so far; returns the decisions whose action has no outcome."""
        self.objective = (await self._store.session(self.session_id)).objective
        decisions = await self._store.decisions(self.session_id)
        self._decided_on = {decision.verdict.id for decision in decisions}
        left_open = self._ruling.remember(decisions, await self._store.outcomes(self.session_id))
        for prompt in await self._store.prompts(self.session_id):
            self._stops.asked(prompt)
            self._prompts.remember(prompt)
        return left_open

    async def settled(self) -> None:
        """Return once everything taken so far was judged."""
        async with self._lock:
            return

    async def intend(self, intent: Intent) -> None:
        """Write a tool call's intent down; durable when it returns."""
        await self._journal.intent(intent)

    async def asks(self, message: dict[str, Any]) -> dict[str, Any]:
        """Write a prompt down before it goes to the agent; returns it under a uuid, by
        which the transcript tells whether it got there. Durable when it returns; where the
        store fails, that is loud, and the prompt goes out."""
        message, sent = self._prompts.draw_up(message, self._now())
        if sent is not None:
            self._stops.asked(sent)
            await self._journal.prompt(sent)
        return message

    async def diagnose(self, failure: Failure | None, transcript: str) -> Interruption:
        """Why the last turn of a transcript ended, and how to go on. Reads the turn from
        the store, or the whole transcript where the context or its pairs are at fault."""
        return await diagnose_stored(
            self._store,
            self.session_id,
            transcript,
            failure,
            turn_seq=self.progress.turn_seq,
            sent=self._prompts.sent,
        )

    async def interrupted(
        self, interruption: Interruption, transcript: str, *, insist: bool = False
    ) -> Decision | None:
        """Decide on an interruption of the main agent's turn, and start what is decided.
        One that a person insists on going on with is gone on with, if a machine may.
        Returns None where the decision could not be recorded: nothing is done then."""
        async with self._lock:
            await self._ruling.settle(self.outcomes.interrupted(self.seq, self._now()))
            verdict = verdict_on(
                interruption,
                session_id=self.session_id,
                transcript=transcript,
                seq=self.seq,
                key=self.outage_mark,
            )
            return await self._ruling.rule_on_interruption(
                verdict, insist=insist and interruption.retryable
            )

    async def stopping(self, transcript: str, said: str) -> Decision | None:
        """Decide on the main agent's wish to end its turn, with these last words, and start
        what is decided. Returns None where the decision could not be recorded: nothing is
        done then."""
        async with self._lock:
            verdict = self._stops.verdict(
                self.session_id, transcript, seq=self.seq, onset=self.progress.turn_seq, said=said
            )
            return await self._ruling.rule_on_stop(verdict)

    def queued(self, decision: Decision) -> None:
        """An action's text waits for the agent's next tool boundary, from now on."""
        self.outcomes.queued(decision, self._now())

    async def result_of(self, decision: Decision) -> ActionResult:
        """What the action that a stop led to did, once it is done."""
        return await self._ruling.result_of(decision)

    async def ask(self, decision: Decision, question: str) -> Opinion:
        """Put a question about the agent's work to the policy's judge, which stays the one
        that the session began with. Raises `ActionError` where there is no answer."""
        if not self._opinions:
            raise ActionError("the session began under a policy without a judge")
        return await ask_about_work(
            self._opinions, self._store, self.progress.digest, decision.verdict, question
        )

    def dismiss(self, agent_id: str) -> None:
        """A subagent was stopped."""
        self.bearings.stopped(agent_id, self._now())

    def resumed(self, decision: Decision) -> None:
        """The interrupted turn goes on from here."""
        self.outcomes.resumed(decision, self.seq)

    async def tick(self) -> None:
        """Tell the detectors the time: silence is a symptom too."""
        async with self._lock:
            judged = self._judge.tick(self._now(), self.bearings.gone)
            await self._journal.report(judged.troubles)
            await self._ruling.rule_on(judged.verdicts)

    async def carried_out(self, decision: Decision, result: ActionResult) -> None:
        """An action was carried out. Whether it helped is yet to be seen, unless it says so."""
        self.outcomes.acted(decision, result.detail)
        if result.at_once or decision.verdict.failure_mode is FailureMode.STOP:
            self.outcomes.took_effect(decision, self.seq)
        if result.status is not None:
            async with self._lock:
                await self._ruling.turned_out(decision, result.status, self.seq, result.detail)
        self._ruling.is_done(decision, result)

    async def words_heard(self, words: Sequence[Heard]) -> None:
        """The agent got what people said."""
        await self._journal.heard(words)

    async def conclude(self, state: SessionState, reason: str = "") -> None:
        """Record how the session stands."""
        await self._journal.state(state, reason)

    async def moved(self, sdk_session_id: str) -> None:
        """The session's work goes on in another transcript."""
        await self._journal.head(sdk_session_id)

    async def action_failed(self, decision: Decision, error: Exception) -> None:
        """An action could not be carried out: its ladder goes on from there."""
        reason = f"{decision.action} failed: {error}"
        await self.note(f"action:{decision.action}", reason, seq=decision.seq)
        async with self._lock:
            await self._ruling.failed(decision, self.seq, reason)

    async def action_superseded(self, decision: Decision, reason: str) -> None:
        """An action was not carried out, because something else came first."""
        async with self._lock:
            await self._ruling.superseded(decision, self.seq, reason)

    def turn_began(self, turn: str = "") -> None:
        """Somebody asks for something: what interrupted the turn before is over. `turn` is
        the runtime's name for it, where the prompt did not go out through us."""
        self._journal.account.turn_began()
        self._stops.turn_began(turn)

    async def turn_ended(self, stopped: str | None = None) -> None:
        """The main agent yielded, or all were stopped and why: what is open is settled."""
        async with self._lock:
            await self._ruling.turn_ended(self.seq, stopped)

    async def finish(self) -> None:
        """The session ends here: ask the detectors for a last word. The agent is gone, so
        nothing is done about it."""
        self._ruling.capabilities = lambda agent_id: frozenset()
        async with self._lock:
            judged = self._judge.finish(self.bearings.gone)
            await self._ruling.rule_on(judged.verdicts)
            await self._journal.report(judged.troubles)
            reason = "the session ended before it could be judged"
            await self._ruling.turn_ended(self.seq, reason)
        if self._opinions:
            await self._opinions.close(OPINIONS_AT_END_SECONDS)

    async def leave(self) -> None:
        """The session goes on elsewhere: nobody is asked anything any more."""
        if self._opinions:
            await self._opinions.close(0)

    async def _confirmed(self, verdict: Verdict) -> bool:
        """Take a second opinion's verdict; returns whether it came in time. It does not if
        the agent has been told something since: what it is about may be left behind."""
        async with self._lock:
            acted = self._ruling.history.last_of_agent(verdict.agent_id)
            prompted = verdict.agent_id is None and self.progress.turn_seq > verdict.seq
            if prompted or (acted is not None and acted.decision.seq >= verdict.seq):
                return False
            return await self._ruling.rule_on([verdict])

    async def note(self, source: str, message: str, *, seq: int | None = None) -> None:
        """Record an incident, count it and tell it."""
        await self._journal.report([Trouble(source, seq, message)])

    async def _observe(self, stored: StoredEntry) -> None:
        began = time.perf_counter()
        judged = self._judge.observe(stored)
        METRICS.judging_duration.observe(time.perf_counter() - began)
        self.seq = stored.seq
        self.progress.note_line(stored)
        now = self._now()
        settled: list[Outcome] = []
        for entry in judged.entries:
            settled.extend(self.outcomes.observe(entry, now))
            await self._notice(entry, now)
        self.bearings.take(stored, judged.entries)
        if not stored.inherited:
            account = self._journal.account
            account.took(stored.seq, self.bearings.tokens, self.bearings.added)
        await self._ruling.settle(settled)
        await self._journal.report(judged.troubles)
        found = list(judged.verdicts)
        if not stored.inherited:
            found += self.bearings.overspent(self.policy.limits, stored)
        await self._ruling.rule_on([one for one in found if one.id not in self._decided_on])

    async def _notice(self, entry: Entry, now: datetime) -> None:
        self.progress.note(entry, inherited=entry.inherited)
        self.progress.announce(entry)
        if self.objective is None and (objective := objective_in([entry])):
            self.objective = objective
            await self._journal.objective(objective)
        if not entry.inherited:
            self._journal.account.entry(entry, now)

    def _decided(self, decision: Decision) -> None:
        if decision.choice is Choice.ACT:
            self._act(decision)
        elif self._opinions:
            self._opinions.consider(decision)
