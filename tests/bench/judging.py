"""What reading and judging one entry costs however long its session is, all detectors on.

The session is made up, and the same at every run. Processor time, without a store:

- `entry_us_100`: median over the entries of sessions of 100 entries
- `entry_us_100k`: median over the same lines, as they come after 100,000 others
- `entry_flatness_ratio`: the second over the first, median of pairs taken in turn; a cost
  that does not grow with the session's length is about 1
- `state_100k_bytes`: what judging so long a session holds
"""

from __future__ import annotations

from itertools import islice
from statistics import median

from supervisor.store.interface import StoredEntry
from tests.bench.state import new_judge, state_of
from tests.bench.timing import times_us
from tests.bench.workload import SESSION, endless_lines, stored

_ROUNDS = 30
_SHORT = 100
_LONG = 100_000


def measure() -> dict[str, float]:
    """See the module."""
    everything = endless_lines()
    old = new_judge()
    for seq, raw in enumerate(islice(everything, _LONG), 1):
        old.observe(StoredEntry(session_id="s", seq=seq, transcript=SESSION, raw=raw))
    young_times: list[float] = []
    old_times: list[float] = []
    ratios: list[float] = []
    for number in range(_ROUNDS):
        part = list(islice(everything, _SHORT))
        young = times_us(new_judge().observe, stored(part))
        aged = times_us(old.observe, stored(part, after=_LONG + number * _SHORT))
        ratios.append(median(aged) / median(young))
        young_times += young
        old_times += aged
    return {
        "entry_us_100": median(young_times),
        "entry_us_100k": median(old_times),
        "entry_flatness_ratio": median(ratios),
        "state_100k_bytes": state_of(old),
    }
