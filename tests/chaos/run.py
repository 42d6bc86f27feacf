"""One run: a worker begins a session and is killed, and another brings it to its end."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from supervisor.core.intent import Intent
from supervisor.core.session import SessionState
from supervisor.runtime.policies import chosen_policy
from supervisor.runtime.runner import OPEN
from supervisor.runtime.submission import Submission, new_session
from supervisor.store.connect import store_at
from supervisor.store.interface import SessionRow, Store
from supervisor.testing import Context, RecordedRequest, ScriptedModel
from tests.chaos.hosts import Host
from tests.chaos.plan import Cell, Plan
from tests.chaos.story import OBJECTIVE, Story, by_lucid

__all__ = ["Run", "WorkerGone", "new_folder", "one_run", "submitted", "until"]

LIMIT_SECONDS = 120.0
ORPHANS_AFTER = timedelta(seconds=1)
_LOOK_SECONDS = 0.005
_POLL_SECONDS = 0.05


class WorkerGone(Exception):
    """A worker ended that nobody had told to."""


@dataclass
class Run:
    """What came of one run."""

    cell: Cell
    seed: str
    resumed: bool = False
    why_not: str = ""
    cause: str = ""
    """The diagnosis by the worker that went on."""
    invisible: list[str] = field(default_factory=list)
    """Calls that may have run and that the resumed model did not learn of."""
    repeated: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    prompts: int | None = None
    """How often the objective stood in the model's last context; None where the first
    worker had finished and the model was asked nothing more."""
    orphans: list[str] = field(default_factory=list)
    late_requests: int = 0
    replies: str = ""
    """What the model said, by worker."""
    resume_seconds: float | None = None
    """From the first worker's end to the second's first request, or to the end of a session
    whose answer was at hand."""

    @property
    def is_good(self) -> bool:
        """Whether every bar is met."""
        faults = (self.invisible, self.repeated, self.lost, self.orphans)
        return self.resumed and not any(faults) and self.prompts in (None, 1)


async def one_run(cell: Cell, seed: str, store: str | None = None) -> Run:
    """Run it; `store` is an empty database's address, None takes a new SQLite file."""
    run = Run(cell, seed)
    plan = Plan.drawn(cell, seed)
    with new_folder() as folder:
        shared = folder / "shared"
        shared.mkdir()
        story = plan.story(cell, shared)
        try:
            async with asyncio.timeout(LIMIT_SECONDS), ScriptedModel(story) as model:
                try:
                    await _Played(run, plan, story, model, folder, store).play()
                finally:
                    run.replies = _replies(model.requests)
        except TimeoutError:
            run.why_not = f"not over within {LIMIT_SECONDS:g} s; {run.why_not}"
        except WorkerGone as gone:
            run.why_not = str(gone)
        counts = Counter(story.log)
        run.repeated = sorted(step for step, count in counts.items() if count > 1)
        run.lost = [step for step in range(1, story.steps + 1) if not counts[step]]
    return run


@contextmanager
def new_folder() -> Iterator[Path]:
    """A folder that is gone afterwards."""
    with TemporaryDirectory(prefix="chaos-") as name:
        yield Path(name).resolve()


class _Played:
    """One run, while it is played."""

    def __init__(
        self,
        run: Run,
        plan: Plan,
        story: Story,
        model: ScriptedModel,
        folder: Path,
        store: str | None,
    ) -> None:
        self.run, self.plan, self.story, self.model = run, plan, story, model
        self.was_over = False
        """The turn came to its end while the first worker drained."""
        self.where = store or str(folder / "lucid.db")
        self.first = Host(folder / "first", self.where, model)
        self.second = Host(folder / "second", self.where, model)

    async def play(self) -> None:
        async with store_at(self.where) as store:
            row = await submitted(store, self.first.work)
            async with self.first.worker() as worker:
                await self._moment(worker)
                killed_at = await self.first.killed(worker, self.run.cell.kill)
                self.first.work.rename(self.first.work.with_name("gone"))
                async with self.second.worker() as worker:
                    await asyncio.gather(
                        self._look_for_orphans(killed_at),
                        self._until_over(store, row.session_id, worker),
                    )
                    over_at = datetime.now(UTC)
                    await self.second.killed(worker, "drain")
            await self._judge(store, row.session_id, killed_at, over_at)

    async def _moment(self, worker: asyncio.subprocess.Process) -> None:
        """Return when the worker is to be killed."""
        step, shared = self.plan.step, self.story.folder
        name = self.story.name_of(step)
        match self.run.cell.phase:
            case "before-tool" | "in-output":
                await until(lambda: any(r.reply == name for r in self.model.requests), worker)
                await asyncio.sleep(self.story.delay)
            case "in-tool" | "in-subagent":
                await until((shared / f"began-{step}").exists, worker)
            case "after-tool":
                await until((shared / f"ended-{step}").exists, worker)
        await asyncio.sleep(self.plan.jitter)

    async def _look_for_orphans(self, killed_at: datetime) -> None:
        wait = killed_at + ORPHANS_AFTER - datetime.now(UTC)
        await asyncio.sleep(wait.total_seconds())
        self.run.orphans = await asyncio.to_thread(self.first.left)

    async def _until_over(
        self, store: Store, session_id: str, worker: asyncio.subprocess.Process
    ) -> None:
        row = await store.session(session_id)
        self.was_over = row.state not in OPEN
        while row.state in OPEN and worker.returncode is None:
            self.run.why_not = f"{row.state} {row.state_reason}: {self.second.said[-400:]}"
            await asyncio.sleep(_POLL_SECONDS)
            row = await store.session(session_id)
        self.run.resumed = row.state is SessionState.REACHED
        self.run.why_not = "" if self.run.resumed else f"{row.state}: {row.state_reason}"

    async def _judge(
        self, store: Store, session_id: str, killed_at: datetime, over_at: datetime
    ) -> None:
        ours, others = _by_worker(self.model.requests)
        self.run.late_requests = sum(request.at > killed_at for request in ours)
        self.run.cause = await _cause(store, session_id)
        went_on_at = others[0].at if others else over_at
        if not self.was_over:
            self.run.resume_seconds = (went_on_at - killed_at).total_seconds()
        main = [request.context for request in others if request.context.agent == "main"]
        if not main:
            return
        begun = [i for i in await store.intents(session_id) if i.at < went_on_at]
        self.run.invisible = [
            f"{intent.tool} {bytes(intent.input).decode()}"
            for intent in begun
            if not self._is_visible(intent, main[0])
        ]
        self.run.prompts = sum(told.count(OBJECTIVE) for told in main[-1].told)

    def _is_visible(self, intent: Intent, context: Context) -> bool:
        """Whether the model can know of a call: it stands in its context, Lucid names it, or
        the subagent that made it has reported."""
        if intent.call_id in {call.id for call in context.calls}:
            return True
        given = json.loads(bytes(intent.input))
        telling = given.get("command") or given.get("prompt")
        if any(by_lucid(told) and telling in told for told in context.told):
            return True
        known = self.story.known(context)
        return intent.agent_id is not None and telling in {self.story.command(n) for n in known}


async def submitted(store: Store, work: Path) -> SessionRow:
    """Queue the session, as `lucid submit` does."""
    return await new_session(
        store,
        OBJECTIVE,
        Submission(permission_mode="bypassPermissions"),
        chosen_policy("default"),
        cwd=work,
        state=SessionState.QUEUED,
    )


async def until(holds: Callable[[], bool], worker: asyncio.subprocess.Process) -> None:
    """Wait until it holds. Raises `WorkerGone` where the worker ends before."""
    while not holds():
        if worker.returncode is not None:
            raise WorkerGone(f"a worker ended by itself, with {worker.returncode}")
        await asyncio.sleep(_LOOK_SECONDS)


def _by_worker(
    requests: Sequence[RecordedRequest],
) -> tuple[list[RecordedRequest], list[RecordedRequest]]:
    """The first worker's requests and all others, told apart by the id that a CLI makes up
    for its home."""
    devices = [_device(request) for request in requests]
    ours = [r for r, device in zip(requests, devices, strict=True) if device == devices[0]]
    others = [r for r, device in zip(requests, devices, strict=True) if device != devices[0]]
    return ours, others


def _replies(requests: Sequence[RecordedRequest]) -> str:
    if not requests:
        return ""
    said = (", ".join(request.reply for request in each) for each in _by_worker(requests))
    return " | ".join(said)


def _device(request: RecordedRequest) -> str:
    return str(json.loads(request.body["metadata"]["user_id"])["device_id"])


async def _cause(store: Store, session_id: str) -> str:
    verdicts = [v for v in await store.verdicts(session_id) if v.detector == "diagnosis"]
    return str(verdicts[0].evidence.facts["cause"]) if verdicts else ""
