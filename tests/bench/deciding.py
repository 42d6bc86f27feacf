"""What deciding on one verdict costs, under the shipped policies.

- `decide_us`: median over verdicts of every kind under `coding`, whose history holds 1,000
  decisions; at most 50
- `decide_us_p99`: 99 in 100 cost no more
- `decide_best_us`: median where the step chooses among three actions by their record
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from statistics import median

from msgspec import structs

from supervisor.core.action import Capability
from supervisor.core.decision import Decision
from supervisor.core.outcome import Outcome, OutcomeStatus
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.engine import decide
from supervisor.policy.history import History
from supervisor.policy.load import load_policy, parse_policy
from supervisor.policy.model import Policy
from supervisor.policy.situation import Situation
from supervisor.runtime import registry
from tests.bench.timing import percentile, times_us

_VERDICTS = 2_000
_STARTED = datetime(2026, 1, 1, tzinfo=UTC)
_MODES = [mode for mode in FailureMode if mode is not FailureMode.INTERRUPTION]
_CHOOSING = """
version: 1
rules:
  - name: choosing
    on: loop
    ladder:
      - choose: best
        of: [nudge, correct, rollback]
"""


def measure() -> dict[str, float]:
    """See the module."""
    plugins = {"detectors": registry.detectors(), "actions": registry.actions()}
    coding = load_policy("coding", **plugins)  # type: ignore[arg-type] # by their names
    choosing = parse_policy(_CHOOSING, "bench", **plugins)  # type: ignore[arg-type] # likewise
    times = _times(coding, _history(coding))
    return {
        "decide_us": median(times),
        "decide_us_p99": percentile(times, 99),
        "decide_best_us": median(_times(choosing, History(), FailureMode.LOOP)),
    }


def _verdict(number: int) -> Verdict:
    mode = _MODES[number % len(_MODES)]
    return Verdict(
        session_id="s",
        transcript="t",
        agent_id=f"a{number % 7}" if number % 3 == 0 else None,
        seq=number * 5,
        onset_seq=max(1, number * 5 - 3),
        detector=mode,
        failure_mode=mode,
        severity=Severity.WARNING,
        confidence=0.5 + (number % 50) / 100,
        summary="the same call with the same result",
        evidence=Evidence(entries=(number,)),
        key=f"k{number % 20}",
    )


def _history(policy: Policy) -> History:
    history = History()
    for number in range(1, 1_001):
        at = _STARTED + timedelta(seconds=number)
        decision = _decide(policy, _verdict(number), history, at)
        history.record_decision(decision)
        history.record_outcome(
            Outcome(
                session_id="s",
                decision_id=decision.id,
                action=decision.action or "",
                failure_mode=decision.verdict.failure_mode,
                status=OutcomeStatus.CLEARED,
                seq=decision.seq,
                at=at,
                reason="for the bench",
            )
        )
    return history


def _decide(policy: Policy, verdict: Verdict, history: History, now: datetime) -> Decision:
    return decide(
        policy,
        verdict,
        history,
        now,
        actions=registry.actions(),
        capabilities=frozenset(Capability),
        situation=Situation(labels={"team": "pay"}, record={("loop", "nudge"): (3, 4)}),
    )


def _times(policy: Policy, history: History, mode: FailureMode | None = None) -> list[float]:
    now = _STARTED + timedelta(hours=3)
    verdicts = [_verdict(number) for number in range(1_001, 1_001 + _VERDICTS)]
    if mode is not None:
        verdicts = [structs.replace(verdict, failure_mode=mode) for verdict in verdicts]
    return times_us(lambda verdict: _decide(policy, verdict, history, now), verdicts)
