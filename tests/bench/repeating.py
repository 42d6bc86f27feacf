"""A million identical lines, all detectors on: the same text again and again.

Processor time, of lines that are typed already:

- `identical_1m_entry_us`: mean over the million
- `identical_1m_state_bytes`: what judging them holds at the end
- `identical_1m_growth_bytes`: how much more that is than after the first thousand
"""

from __future__ import annotations

from time import thread_time_ns

import msgspec

from supervisor.core.entry import Text
from tests.bench.state import new_judge, state_of

_LINES = 1_000_000
_EARLY = 1_000


def measure() -> dict[str, float]:
    """See the module."""
    judge, early = new_judge(), 0
    said = Text(session_id="s", transcript="t", seq=1, turn=1, text="Let me try that again.")
    began = thread_time_ns()
    for seq in range(1, _LINES + 1):
        judge.judge((msgspec.structs.replace(said, seq=seq),))
        if seq == _EARLY:
            early = state_of(judge)
    took = (thread_time_ns() - began) / 1_000
    held = state_of(judge)
    return {
        "identical_1m_entry_us": took / _LINES,
        "identical_1m_state_bytes": held,
        "identical_1m_growth_bytes": held - early,
    }
