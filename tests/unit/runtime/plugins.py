"""Plugins of another distribution, as the tests install them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, ClassVar

from supervisor.core.action import Action, ActionResult, AgentControl, Capability
from supervisor.core.decision import Decision
from supervisor.core.detector import Detector, DetectorConfig
from supervisor.core.entry import Entry, Text, ToolResult
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict

_SIGN = re.compile(r"FAIL:(\w+)(?:@(\d+))?")


class MarkerConfig(DetectorConfig):
    confidence: float = 0.9


class Marker(Detector):
    """Finds what a test wrote: text or a result with `FAIL:KEY`, from `@ONSET` on."""

    name: ClassVar[str] = "marker"
    failure_mode: ClassVar[FailureMode] = FailureMode.DRIFT
    Config: ClassVar[type[DetectorConfig]] = MarkerConfig
    config: MarkerConfig

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__(config)
        self.seen = 0
        self._last: Entry | None = None

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        self.seen += 1
        self._last = entry
        text = entry.text if isinstance(entry, Text | ToolResult) else ""
        return [self._found(entry, sign[1], sign[2]) for sign in _SIGN.finditer(text)]

    def finish(self) -> Iterable[Verdict]:
        if isinstance(self._last, Text) and "UNFINISHED" in self._last.text:
            yield self._found(self._last, "unfinished", None)

    def _found(self, entry: Entry, key: str, onset: str | None) -> Verdict:
        return Verdict(
            session_id=entry.session_id,
            transcript=entry.transcript,
            agent_id=entry.agent_id,
            seq=entry.seq,
            onset_seq=int(onset or entry.seq),
            detector=self.name,
            failure_mode=self.failure_mode,
            severity=Severity.WARNING,
            confidence=self.config.confidence,
            summary=f"marked {key}",
            evidence=Evidence(entries=(entry.seq,), facts={"seen": self.seen}),
            key=key,
        )


class Fragile(Detector):
    """Raises at text with `BOOM`, and whenever it is told the time."""

    name: ClassVar[str] = "fragile"
    failure_mode: ClassVar[FailureMode] = FailureMode.INCOHERENCE

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        if isinstance(entry, Text) and "BOOM" in entry.text:
            raise ValueError("no such luck")
        return ()

    def tick(self, now: datetime) -> Iterable[Verdict]:
        raise RuntimeError("out of time")


class Stillborn(Detector):
    """Cannot even be made."""

    name: ClassVar[str] = "stillborn"
    failure_mode: ClassVar[FailureMode] = FailureMode.INCOHERENCE

    def __init__(self, config: DetectorConfig | None = None) -> None:
        super().__init__(config)
        raise OSError("no model file")

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        return ()


class Modeless(Detector):
    """Forgot to say which failure it finds."""

    name: ClassVar[str] = "modeless"

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        return ()


class Usurper(Detector):
    """Calls itself what a shipped detector is called."""

    name: ClassVar[str] = "loop"
    failure_mode: ClassVar[FailureMode] = FailureMode.LOOP

    def observe(self, entry: Entry) -> Iterable[Verdict]:
        return ()


class Wave(Action):
    """Waves from afar."""

    name: ClassVar[str] = "wave"
    needs: ClassVar[frozenset[Capability]] = frozenset({Capability.ADD_CONTEXT})

    async def run(self, decision: Decision, params: Any, agent: AgentControl) -> ActionResult:
        await agent.add_context(decision, "hello")
        return ActionResult(detail="waved")


class Needless(Action):
    """Forgot to say what it needs."""

    name: ClassVar[str] = "needless"

    async def run(self, decision: Decision, params: Any, agent: AgentControl) -> ActionResult:
        return ActionResult(detail="did nothing")


NOT_A_CLASS = "loop"
