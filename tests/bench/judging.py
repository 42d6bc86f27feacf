"""What reading and judging one transcript entry costs, all detectors on, no store.

- `entry_us_100`: median over the entries of sessions of 100 entries
- `entry_us_10k`: median over the same lines, as they come after 10,000 others
- `entry_flatness_ratio`: the second over the first, median of pairs taken in turn; a cost
  that does not grow with the session's length is about 1
- `entry_us_p99`: of a session beyond 10,000 entries, 99 in 100 cost no more
- `parse_us`: median of typing a raw line, which the others include
"""

from __future__ import annotations

from statistics import median

from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from tests.bench.timing import percentile, times_us
from tests.bench.workload import SESSION, lines, stored

_ROUNDS = 30
_SHORT = 100
_LONG = 10_000


def measure() -> dict[str, float]:
    """See the module."""
    raws = lines(_LONG + _ROUNDS * _SHORT)
    old = _judge()
    for entry in stored(raws[:_LONG]):
        old.observe(entry)
    young_times: list[float] = []
    old_times: list[float] = []
    ratios: list[float] = []
    for number in range(_ROUNDS):
        start = _LONG + number * _SHORT
        part = raws[start : start + _SHORT]
        young = times_us(_judge().observe, stored(part))
        aged = times_us(old.observe, stored(part, after=start))
        ratios.append(median(aged) / median(young))
        young_times += young
        old_times += aged
    return {
        "entry_us_100": median(young_times),
        "entry_us_10k": median(old_times),
        "entry_flatness_ratio": median(ratios),
        "entry_us_p99": percentile(old_times, 99),
        "parse_us": _parsing(raws[:_LONG]),
    }


def _judge() -> Judge:
    return Judge("s", registry.detectors(), {})


def _parsing(raws: list[bytes]) -> float:
    reader = TranscriptReader("s", SESSION)
    numbered = list(enumerate(raws, 1))
    return median(times_us(lambda line: reader.read(line[1], line[0]), numbered))
