"""The next step of a rule's ladder for one failure. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil
from typing import NamedTuple

from supervisor.core.action import Action, Capability
from supervisor.core.decision import Choice, Skipped
from supervisor.core.outcome import OutcomeStatus
from supervisor.core.verdict import Verdict
from supervisor.policy.best import best
from supervisor.policy.history import History
from supervisor.policy.rule import Rule
from supervisor.policy.rung import Cooldown, Rung
from supervisor.policy.situation import Situation

__all__ = ["Answer", "Reach", "climb", "left_of"]

_TURNED_OUT = {
    OutcomeStatus.FAILED: "did not help",
    OutcomeStatus.RELAPSED: "helped, and the failure came back",
    OutcomeStatus.CLEARED: "helped, and the failure is back",
    OutcomeStatus.SUPERSEDED: "could not be judged",
}


class Answer(NamedTuple):
    """What was found, before it is made a decision."""

    choice: Choice
    reason: str
    rule: Rule | None = None
    rung: int | None = None
    step: Rung | None = None
    attempt: int = 1
    attempts: int = 1
    skipped: tuple[Skipped, ...] = ()
    limit: str | None = None


class Reach(NamedTuple):
    """What can be done here."""

    actions: Mapping[str, type[Action]]
    capabilities: frozenset[Capability]
    unnamed: frozenset[Capability] = frozenset()
    """What the policy would have to name somebody for."""
    hand_over: str = ""
    """The command that puts the session where all of it can be done, if there is one."""

    def skip(self, rung: Rung) -> Skipped | None:
        """Why an action cannot be taken; None if it can."""
        action = self.actions.get(rung.action)
        if action is None:
            return Skipped(rung.action, "no such action is installed")
        needs = action.needs | rung.params.needs
        if lacking := needs & self.unnamed:
            reason = f"needs {', '.join(sorted(lacking))}, and the policy names nobody for it"
            return Skipped(rung.action, reason)
        if lacking := needs - self.capabilities:
            reason = f"needs {', '.join(sorted(lacking))}, which this runtime lacks{self.offer}"
            return Skipped(rung.action, reason)
        return None

    @property
    def offer(self) -> str:
        """How to hand the session over, to end a sentence with."""
        return f"; to hand it over: {self.hand_over}" if self.hand_over else ""

    def split(self, rung: Rung) -> tuple[list[Rung], list[Skipped]]:
        """The actions that the step may come to here, and those that it may not."""
        skips = [(option, self.skip(option)) for option in rung.options]
        return (
            [option for option, skipped in skips if skipped is None],
            [skipped for _, skipped in skips if skipped is not None],
        )


class _Place(NamedTuple):
    """Where a ladder stands."""

    rung: int
    attempt: int
    why: str
    since: tuple[int, datetime] | None
    """The entry and the time from which a step's `wait` counts; None: from now."""


def climb(
    rule: Rule,
    verdict: Verdict,
    history: History,
    now: datetime,
    reach: Reach,
    situation: Situation,
) -> Answer:
    """The ladder's next step that is within reach."""
    place = _place(rule, verdict, history)
    attempt = place.attempt
    passed: list[Skipped] = []
    for index in range(place.rung, len(rule.ladder)):
        rung = rule.ladder[index]
        able, unable = reach.split(rung)
        passed += unable
        if not able:
            attempt = 1
            continue
        step = f"rung {index + 1} of {len(rule.ladder)}"
        if left := _wait(rung, place, verdict, now):
            reason = f"{place.why}: {rung}, {step}, waits for another {left}"
            return Answer(Choice.WAITING, reason, rule, skipped=tuple(passed))
        chosen, how = _chosen(rung, able, verdict, situation, attempt)
        attempts = rung.attempts(chosen.action)
        most = "" if rung.until else f" of {attempts}"
        tried = f", attempt {attempt}{most}" if attempt > 1 else ""
        reason = f"{place.why}: {how}, {step}{tried}"
        return Answer(Choice.ACT, reason, rule, index, chosen, attempt, attempts, tuple(passed))
    end = f"no rung that is left is within reach{reach.offer}" if passed else "no rung is left"
    return Answer(Choice.EXHAUSTED, f"{place.why}, and {end}", rule, skipped=tuple(passed))


def _chosen(
    rung: Rung, able: list[Rung], verdict: Verdict, situation: Situation, attempt: int
) -> tuple[Rung, str]:
    if not rung.others:
        return rung, rung.action
    return best(
        [(option.action, option) for option in able],
        verdict.failure_mode,
        situation.record,
        explore=rung.explore,
        seed=f"{verdict.session_id}/{verdict.id}/{attempt}",
    )


def _place(rule: Rule, verdict: Verdict, history: History) -> _Place:
    """Where the ladder goes on for this failure, the how manieth time there, and why."""
    last = history.last_of_failure(rule.name, verdict.agent_id, verdict.key)
    if last is None or last.decision.rung is None:
        seen = history.first_sight(rule.name, verdict.agent_id, verdict.key)
        return _Place(0, 1, f"{rule.name!r} begins its ladder", seen)
    decision, rung = last.decision, last.decision.rung
    status = last.outcome.status if last.outcome else OutcomeStatus.SUPERSEDED
    why = f"{decision.action} {_TURNED_OUT[status]}"
    since = (decision.seq, decision.at)
    attempts = rule.ladder[rung].attempts(decision.action) if rung < len(rule.ladder) else 1
    if status is OutcomeStatus.SUPERSEDED and attempts == 1:
        return _Place(rung, 1, why, since)
    # What could not even be carried out is not tried in the same way again.
    tried = status is OutcomeStatus.SUPERSEDED or (status is OutcomeStatus.FAILED and last.shown)
    if tried and decision.attempt < attempts:
        return _Place(rung, decision.attempt + 1, why, since)
    return _Place(rung + 1, 1, why, since)


def _wait(rung: Rung, place: _Place, verdict: Verdict, now: datetime) -> str | None:
    if rung.wait is None:
        return None
    seq, at = place.since or (verdict.seq, now)
    return left_of(rung.wait, verdict.seq - seq, now - at)


def left_of(distance: Cooldown, entries: int, time: timedelta) -> str | None:
    """What is left of `distance` after so many entries and so much time; None if nothing."""
    if distance.entries is not None and entries < distance.entries:
        left = distance.entries - entries
        return f"{left} {'entry' if left == 1 else 'entries'}"
    if distance.time is not None and time < distance.time:
        return f"{ceil((distance.time - time).total_seconds())} s"
    return None
