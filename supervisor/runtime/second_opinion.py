"""`SecondOpinion`: asks a model about verdicts that no rule acts on. Nothing waits for it.

It asks only where a rule would act on a confirmation, within its budgets, one question at a
time, and the same question once. A confirmation is a verdict of its own, under the detector
`judge`; a rejection is logged and counted. What goes wrong here stops no agent: it is
counted, and an incident is recorded for each kind of it once a session.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict, deque
from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import TYPE_CHECKING

from supervisor.core.decision import Choice, Decision
from supervisor.core.entry import Entry
from supervisor.core.text import one_line
from supervisor.core.verdict import FailureMode, Verdict
from supervisor.errors import ActionError, StoreError, TranscriptError
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.metrics import METRICS
from supervisor.policy.judge import JUDGE, OpinionPrice, Opinions, Spending
from supervisor.runtime.opinion import (
    ANSWERING,
    INSTRUCTIONS,
    TOOL,
    Answer,
    Holds,
    Question,
    confirmation,
    messages_of,
    read_answer,
)
from supervisor.store.interface import Store, StoredEntry

if TYPE_CHECKING:
    from anthropic import AsyncAnthropic
    from anthropic.types import Message, MessageParam

__all__ = ["PROCESS", "Given", "SecondOpinion", "Spent", "question_on"]

log = logging.getLogger(__name__)

_HOUR = 3_600.0  # seconds
_MILLION = 1_000_000
_REMEMBERED = 256
"""Answers kept, the oldest dropped first."""
_UNDER_WAY = 8
"""Questions that wait for their turn or their answer; what comes beyond would come late."""
_TOKENS = 500  # of an answer; one of a sentence takes about a hundred
_RETRIES = 1
_SAID = 200  # characters of an error that an incident repeats
_ENTRIES = 8
"""Entries shown to the judge, the last ones of the evidence."""
_REACH = 1_000
"""Entries before the last one of the evidence among which the others are looked for."""


class Given(StrEnum):
    """What came of a question; the metric's `answer`."""

    CONFIRMED = "confirmed"
    REJECTED = "rejected"
    UNCLEAR = "unclear"
    LATE = "late"
    """Confirmed, and the agent has gone on, or something was done already."""
    BUDGET = "budget"
    """Not asked: what may be spent is spent."""
    BUSY = "busy"
    """Not asked: too many questions are under way."""
    TIMEOUT = "timeout"
    MALFORMED = "malformed"
    """The answer is not what was asked for."""
    UNREACHABLE = "unreachable"
    """The service refused or could not be reached."""
    UNREADABLE = "unreadable"
    """The evidence could not be read from the store."""


_ANSWERS = {Holds.NO: Given.REJECTED, Holds.UNCLEAR: Given.UNCLEAR}
_QUIET = frozenset({Given.CONFIRMED, Given.REJECTED, Given.UNCLEAR, Given.LATE, Given.BUSY})
"""What comes of a judge that works."""


class Spent:
    """What opinions took of late."""

    def __init__(self, span: float = float("inf")) -> None:
        """`span` is in seconds."""
        self._span = span
        self._calls: deque[float] = deque()
        self._costs: deque[tuple[float, float]] = deque()
        self._cost_usd = 0.0

    def exceeds(self, limit: Spending, now: float) -> bool:
        """Whether nothing is left of `limit` at `now`, a monotonic time in seconds."""
        while self._calls and now - self._calls[0] >= self._span:
            self._calls.popleft()
        while self._costs and now - self._costs[0][0] >= self._span:
            self._cost_usd -= self._costs.popleft()[1]
        if len(self._calls) >= limit.calls:
            return True
        return limit.cost_usd is not None and self._cost_usd >= limit.cost_usd

    def called(self, now: float) -> None:
        """A question is asked."""
        self._calls.append(now)

    def cost(self, now: float, cost_usd: float) -> None:
        """An answer was paid for."""
        self._costs.append((now, cost_usd))
        self._cost_usd += cost_usd


PROCESS = Spent(_HOUR)
"""What all sessions of this process took in the last hour."""


class _Failed(Exception):
    """A question has no answer, and why."""

    def __init__(self, given: Given, reason: str) -> None:
        self.given = given
        super().__init__(reason)


class SecondOpinion:
    """Asks about the verdicts of one session."""

    def __init__(
        self,
        judge: Opinions,
        *,
        would_act: Callable[[Verdict], bool],
        read: Callable[[Verdict], Awaitable[Question]],
        confirmed: Callable[[Verdict], Awaitable[bool]],
        note: Callable[[str, str], Awaitable[None]],
        hour: Spent = PROCESS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`would_act` says whether a rule answers such a verdict; `read` finds what a verdict
        rests on; `confirmed` takes the judge's own verdicts and returns whether they came in
        time; `note(source, message)` records an incident. `hour` is what all sessions
        together have spent."""
        self._judge = judge
        self._would_act = would_act
        self._read = read
        self._confirmed = confirmed
        self._note = note
        self._hour = hour
        self._session = Spent()
        self._clock = clock
        self._tasks: set[asyncio.Task[Given]] = set()
        self._one_at_a_time = asyncio.Lock()
        self._answers: OrderedDict[str, Answer] = OrderedDict()
        self._noted: set[Given] = set()
        self._client: AsyncAnthropic | None = None
        self._closed = False

    def consider(self, decision: Decision) -> None:
        """Ask about a decision's verdict, if that can change what is done. Returns at once."""
        verdict = decision.verdict
        if self._closed or decision.choice is not Choice.NO_RULE:
            return
        if not self._is_worth_it(verdict):
            return
        if len(self._tasks) >= _UNDER_WAY:
            _count(verdict, Given.BUSY)
            return
        task = asyncio.create_task(self._settle(verdict))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _is_worth_it(self, verdict: Verdict) -> bool:
        if verdict.failure_mode not in self._judge.confirms or verdict.detector == JUDGE:
            return False
        return self._would_act(confirmation(verdict, Answer(Holds.YES, 1.0, "")))

    async def close(self, within: float) -> None:
        """Ask nothing any more: questions under way have `within` seconds yet."""
        self._closed = True
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._client is not None:
            await self._client.close()

    async def asked(self, verdict: Verdict) -> Given | None:
        """Ask about a verdict that no rule acts on, and wait for what comes of it; None where
        it is not worth asking."""
        return await self._settle(verdict) if self._is_worth_it(verdict) else None

    async def _settle(self, verdict: Verdict) -> Given:
        try:
            answer = await self._answer(verdict)
            given = await self._take(verdict, answer)
        except _Failed as error:
            given = error.given
            await self._tell(given, str(error))
        except Exception as error:  # a second opinion must never be what breaks a session
            log.exception("no second opinion on entry %d", verdict.seq)
            given = Given.UNREADABLE
            await self._tell(given, f"{type(error).__name__}: {error}")
        _count(verdict, given)
        return given

    async def _take(self, verdict: Verdict, answer: Answer) -> Given:
        said = one_line(answer.reason, _SAID)
        mode, at = verdict.failure_mode, verdict.seq
        log.info("second opinion on %s at entry %d: %s", mode, at, answer.holds)
        log.debug("its reason: %s", said)
        if answer.holds is not Holds.YES:
            return _ANSWERS[answer.holds]
        in_time = await self._confirmed(confirmation(verdict, answer))
        return Given.CONFIRMED if in_time else Given.LATE

    async def _tell(self, given: Given, reason: str) -> None:
        if given in _QUIET or given in self._noted:
            return
        self._noted.add(given)
        await self._note("judge", f"no second opinion ({given}): {one_line(reason, _SAID)}")

    async def _answer(self, verdict: Verdict) -> Answer:
        """The answer, asked for or remembered. Raises `_Failed`."""
        self._check_budget()  # before anything is read: an agent may give cause for thousands
        try:
            question = await self._read(verdict)
        except (StoreError, TranscriptError) as error:
            raise _Failed(Given.UNREADABLE, str(error)) from error
        key = question.fingerprint(self._judge.model)
        async with self._one_at_a_time:
            if key not in self._answers:
                self._answers[key] = await self._asked(INSTRUCTIONS, messages_of(question))
                if len(self._answers) > _REMEMBERED:
                    self._answers.popitem(last=False)
            return self._answers[key]

    async def put(self, instructions: str, messages: list[MessageParam]) -> Answer:
        """Ask something else, within the same budgets and time limit; somebody waits for the
        answer. Raises `ActionError` where there is none."""
        try:
            async with self._one_at_a_time:
                answer = await self._asked(instructions, messages)
        except _Failed as error:
            METRICS.opinions.labels(FailureMode.STOP, error.given).inc()
            said = one_line(str(error), _SAID)
            raise ActionError(f"the judge gave no answer ({error.given}): {said}") from error
        given = _ANSWERS.get(answer.holds, Given.CONFIRMED)
        METRICS.opinions.labels(FailureMode.STOP, given).inc()
        return answer

    async def _asked(self, instructions: str, messages: list[MessageParam]) -> Answer:
        self._check_budget()
        for spent in (self._session, self._hour):
            spent.called(self._clock())
        client = await self._connected()
        seconds = self._judge.timeout.total_seconds()
        try:
            async with asyncio.timeout(seconds):
                message = await self._send(client, instructions, messages)
        except TimeoutError as error:
            raise _Failed(Given.TIMEOUT, f"no answer in {seconds:g} s") from error
        if self._judge.price is not None:
            cost = _cost(self._judge.price, message)
            for spent in (self._session, self._hour):
                spent.cost(self._clock(), cost)
        return _read(message)

    def _check_budget(self) -> None:
        now = self._clock()
        for spent, limit, of in (
            (self._session, self._judge.per_session, "session"),
            (self._hour, self._judge.per_hour, "hour"),
        ):
            if spent.exceeds(limit, now):
                raise _Failed(Given.BUDGET, f"the budget of this {of} is used up")

    async def _connected(self) -> AsyncAnthropic:
        if self._client is None:
            try:
                # Importing the package takes a second, in which agents would stand still.
                self._client = await asyncio.to_thread(_client)
            except Exception as error:  # of the package's own kind, and of its settings'
                raise _unreachable(error) from error
        return self._client

    async def _send(
        self, client: AsyncAnthropic, instructions: str, messages: list[MessageParam]
    ) -> Message:
        try:
            return await client.messages.create(
                model=self._judge.model,
                max_tokens=_TOKENS,
                system=instructions,
                messages=messages,
                tools=[TOOL],
                tool_choice=ANSWERING,
            )
        except Exception as error:  # without a key it raises TypeError, and more such
            raise _unreachable(error) from error


def _client() -> AsyncAnthropic:
    from anthropic import AsyncAnthropic

    return AsyncAnthropic(max_retries=_RETRIES)


def _unreachable(error: Exception) -> _Failed:
    return _Failed(Given.UNREACHABLE, f"{type(error).__name__}: {error}")


def _read(message: Message) -> Answer:
    calls = [block for block in message.content if block.type == "tool_use"]
    if len(calls) != 1 or calls[0].name != TOOL["name"]:
        raise _Failed(Given.MALFORMED, f"{len(calls)} tool calls in an answer, not one opinion")
    try:
        return read_answer(calls[0].input)
    except ValueError as error:  # a validation error is one
        raise _Failed(Given.MALFORMED, f"an answer against the schema: {error}") from error


def _cost(price: OpinionPrice, message: Message) -> float:
    """US dollars."""
    usage = message.usage
    cached = (usage.cache_creation_input_tokens or 0) + (usage.cache_read_input_tokens or 0)
    tokens_in = usage.input_tokens + cached
    return (tokens_in * price.input + usage.output_tokens * price.output) / _MILLION


def _count(verdict: Verdict, given: Given) -> None:
    METRICS.opinions.labels(verdict.failure_mode, given).inc()


async def question_on(store: Store, verdict: Verdict, prompt_seq: int) -> Question:
    """What `verdict` rests on, with the prompt at `prompt_seq`, read from the store.

    Raises `StoreError` or `TranscriptError`.
    """
    row = await store.session(verdict.session_id)
    wanted = sorted({prompt_seq, *verdict.evidence.entries[-_ENTRIES:]} - {0})
    near = {seq for seq in wanted if seq > wanted[-1] - _REACH}
    first = await _entries(store, verdict, set(wanted[:1]) - near)
    return Question(verdict, row.objective or "", (*first, *await _entries(store, verdict, near)))


async def _entries(store: Store, verdict: Verdict, wanted: set[int]) -> list[Entry]:
    found: list[Entry] = []
    if not wanted:
        return found
    after, last = min(wanted) - 1, max(wanted)
    async for stored in store.entries(
        verdict.session_id, after=after, transcript=verdict.transcript
    ):
        if stored.seq > last:
            break
        if stored.seq in wanted:
            found += _typed(stored)
    return found


def _typed(stored: StoredEntry) -> tuple[Entry, ...]:
    reader = TranscriptReader(stored.session_id, stored.transcript, stored.agent_id)
    return reader.read(stored.raw, stored.seq, inherited=stored.inherited)
