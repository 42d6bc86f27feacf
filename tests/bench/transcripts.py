"""What reading and judging real transcripts costs, all detectors on, in one pass.

The transcripts are those of Claude Code in the corpora, where they are there; where not, made
up ones stand in. Processor time, without a store:

- `entry_us_p50`: median over all their lines, of reading and judging one
- `entry_us_p99`: 99 in 100 of them cost no more
- `parse_us`: median of only typing a line, which the others include
- `loop_us`: median of loop detection alone, on a line that is typed
- `state_bytes`: the most that judging one agent's transcript ever held, looked at after each
  50 lines: detectors, checkpoints, signs of risk, readers
- `session_state_bytes`: the same of all agents of a session together; of the corpora's sessions
  one has three subagents at work at a time, and holds this much
"""

from __future__ import annotations

import gzip
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from supervisor.core.entry import Entry
from supervisor.ingest.claude_code import TranscriptReader
from supervisor.runtime import registry
from tests.bench.state import new_judge, session_state_of, state_of
from tests.bench.timing import percentile, times_us
from tests.bench.workload import SESSION, lines, stored

_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "claude"
_MADE_UP = 10
_LINES = 1_000
_EVERY = 50


def measure() -> dict[str, float]:
    """See the module."""
    transcripts = list(_transcripts())
    parse_times: list[float] = []
    loop_times: list[float] = []
    times: list[float] = []
    for raws in transcripts:
        typed: list[tuple[Entry, ...]] = []
        reader = TranscriptReader("s", SESSION)
        parse_times += times_us(
            lambda line, typed=typed, reader=reader: typed.append(reader.read(line[1], line[0])),
            enumerate(raws, 1),
        )
        loop = registry.detectors()["loop"]()
        loop_times += times_us(lambda e, loop=loop: [deque(loop.observe(x), 0) for x in e], typed)
        times += times_us(new_judge().observe, stored(raws))
    held = [_most_held(raws) for raws in transcripts]
    return {
        "entry_us_p50": percentile(times, 50),
        "entry_us_p99": percentile(times, 99),
        "parse_us": median(parse_times),
        "loop_us": median(loop_times),
        "state_bytes": max(one for one, _ in held),
        "session_state_bytes": max(together for _, together in held),
    }


def _transcripts() -> Iterator[list[bytes]]:
    paths = sorted(_FOLDER.glob("*.jsonl.gz"))
    for path in paths:
        raws = gzip.decompress(path.read_bytes()).splitlines()
        yield [raw for raw in raws if raw.strip()]
    if not paths:
        yield from (lines(_LINES, seed) for seed in range(_MADE_UP))


def _most_held(raws: list[bytes]) -> tuple[int, int]:
    """For one agent, and for all of them together."""
    judge, most, together = new_judge(), 0, 0
    for number, entry in enumerate(stored(raws), 1):
        judge.observe(entry)
        if number % _EVERY == 0 or number == len(raws):
            most = max(most, state_of(judge))
            together = max(together, session_state_of(judge))
    return most, together
