"""How the interpreter is set up for a sidecar."""

from __future__ import annotations

import gc
import sys

__all__ = ["tune"]

_SWITCH_SECONDS = 0.0005
"""The store's thread lets go of the interpreter with each statement, and gets it back from a
busy event loop after this long. 256 writes beside a busy loop: 180 ms at Python's 5 ms, 50 ms
at this, 20 ms beside an idle one."""

_THRESHOLDS = (10_000, 10, 1_000)
"""Objects and collections before the next collection of each generation. Looking through what
1,000 sessions remember holds everything up: at Python's 700, 10 and 10, and 2,000 lines a second,
the longest pauses were 370 to 550 ms, with no collection at all 160 to 490 ms (on a machine with
other work). The young generations free the cycles that there are; they took 103 ms at the most."""


def tune() -> None:
    """Have this process change between its threads more often than Python does by itself, and
    look through all that it holds more seldom."""
    sys.setswitchinterval(min(sys.getswitchinterval(), _SWITCH_SECONDS))
    gc.freeze()  # modules and the like, which stay
    gc.set_threshold(*_THRESHOLDS)
