"""What reading and judging one entry costs on real transcripts, where they are there.

- `corpora_entry_us_p50`: median over all lines of all Claude Code transcripts
- `corpora_entry_us_p99`: 99 in 100 of them cost no more
"""

from __future__ import annotations

import gzip
from pathlib import Path

from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from tests.bench.timing import percentile, times_us
from tests.bench.workload import stored

_FOLDER = Path(__file__).resolve().parents[3] / "shared" / "corpora" / "claude"


def measure() -> dict[str, float]:
    """See the module; no figures without the corpora."""
    times: list[float] = []
    for path in sorted(_FOLDER.glob("*.jsonl.gz")):
        raws = gzip.decompress(path.read_bytes()).splitlines()
        judge = Judge("s", registry.detectors(), {})
        times += times_us(judge.observe, stored([raw for raw in raws if raw.strip()]))
    if not times:
        return {}
    return {
        "corpora_entry_us_p50": percentile(times, 50),
        "corpora_entry_us_p99": percentile(times, 99),
    }
