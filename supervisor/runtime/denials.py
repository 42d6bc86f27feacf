"""`Denials`: calls that actions have denied, for a time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from supervisor.core.action import Denial
from supervisor.core.decision import Decision
from supervisor.core.digest import fingerprint
from supervisor.core.intent import Intent

__all__ = ["Denials"]


@dataclass
class _Denied:
    decision: Decision
    denial: Denial
    calls_left: int | None
    is_met: bool = False
    """A call has come by since."""


class Denials:
    """What is denied to the agents of one session. Asking costs nothing while nothing is."""

    def __init__(
        self,
        is_pending: Callable[[Decision], bool],
        met: Callable[[Decision, str], None],
    ) -> None:
        """`is_pending(decision)`: is it still to be seen what came of its action? `met` hears
        of the first call that a denial is asked about: those before it ran without."""
        self._is_pending = is_pending
        self._met = met
        self._of_agent: dict[str | None, list[_Denied]] = {}

    def add(self, decision: Decision, denial: Denial) -> None:
        """Deny these calls of the verdict's agent from now on."""
        denied = _Denied(decision, denial, denial.calls)
        self._of_agent.setdefault(decision.verdict.agent_id, []).append(denied)

    def reason(self, intent: Intent) -> str | None:
        """Why a call that is about to run is denied, if it is; counts it as one of its
        agent's calls."""
        now = [denied for denied in self._of_agent.pop(intent.agent_id, []) if self._holds(denied)]
        if not now:
            return None
        covering = [denied for denied in now if _covers(denied.denial, intent)]
        for denied in now:
            if not denied.is_met:
                denied.is_met = True
                self._met(denied.decision, intent.call_id)
            if denied.calls_left is not None:
                denied.calls_left -= 1
        self._of_agent[intent.agent_id] = now
        return covering[-1].denial.reason if covering else None

    def _holds(self, denied: _Denied) -> bool:
        if denied.calls_left is not None:
            return denied.calls_left > 0
        return self._is_pending(denied.decision)


def _covers(denial: Denial, intent: Intent) -> bool:
    if intent.tool in denial.tools:
        return True
    prints = denial.fingerprints
    return bool(prints) and fingerprint(intent.tool, intent.input) in prints
