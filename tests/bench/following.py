"""A sidecar beside 1,000 agents that write 2,000 entries a second, on as many cores as it has.

Each agent works, and somewhere calls the same thing again and again, which is found. The
transcripts are written by this process, the sidecar is one of its own.

- `ingest_ms_p99`: milliseconds from an entry's being written to the verdict on it, durable
  and told
- `ingest_ms_p50`: the same, median
- `sidecar_rss_mb`: the most memory that the sidecar's process took, in MB
- `sidecar_cpu_share`: of one core, while the agents write
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from supervisor.store.sqlite import SqliteStore
from tests.bench.followed import Found
from tests.bench.timing import percentile
from tests.bench.workload import SESSION, endless_lines

ROOT = Path(__file__).resolve().parents[2]
_AGENTS = 1_000
_PER_SECOND = 2_000
_SECONDS = 30
_WARM_SECONDS = 10
"""Not counted: the agents begin one after another."""
_COMING_SECONDS = 8
"""Until all agents have come."""
_STEP_SECONDS = 0.02
_KINDS = 40
"""Different transcripts; agents that share one are told apart by their ids."""


def measure() -> dict[str, float]:
    """See the module."""
    with tempfile.TemporaryDirectory() as name:
        folder, database = Path(name, "projects"), Path(name, "lucid.db")
        (folder / "-home-user-app").mkdir(parents=True)
        command = [sys.executable, "-m", "tests.bench.followed", str(database), str(folder)]
        with subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the sidecar did not begin")
            began = time.time()
            _write_all(folder / "-home-user-app")
            took = time.time() - began
            time.sleep(1)
            process.stdin.close()
            told = json.loads(process.stdout.readline())
        lags = asyncio.run(_lags(database, told["found"], began + _WARM_SECONDS))
    if len(lags) < _AGENTS / 4:
        raise SystemExit(f"only {len(lags)} verdicts came")
    return {
        "ingest_ms_p99": percentile(lags, 99),
        "ingest_ms_p50": percentile(lags, 50),
        "sidecar_rss_mb": told["rss_kb"] / 1024,
        "sidecar_cpu_share": told["cpu_s"] / took,
    }


def _write_all(folder: Path) -> None:
    """Write at an even pace; where this process is late, it catches up."""
    agents = _agents(folder)
    began = time.monotonic()
    written = 0
    while (passed := time.monotonic() - began) < _SECONDS:
        known = max(1, min(_AGENTS, round(_AGENTS * passed / _COMING_SECONDS)))
        while written < _due(passed):
            path, lines = agents[written % known]
            now = datetime.now(UTC).isoformat().encode()
            with path.open("ab") as file:
                file.write(next(lines).replace(b"@now", now) + b"\n")
            written += 1
        time.sleep(_STEP_SECONDS)


def _due(passed: float) -> float:
    """Lines that are to be written by then: each agent writes at its pace once it has come."""
    coming = min(passed, _COMING_SECONDS)
    return _PER_SECOND * (coming * coming / (2 * _COMING_SECONDS) + passed - coming)


def _agents(folder: Path) -> list[tuple[Path, Iterator[bytes]]]:
    random.seed(1)
    kinds = [_templates(seed) for seed in range(_KINDS)]
    return [_agent(folder, number, kinds[number % _KINDS]) for number in range(_AGENTS)]


def _agent(folder: Path, number: int, kind: list[bytes]) -> tuple[Path, Iterator[bytes]]:
    session_id = f"{SESSION[:-8]}{number:08d}"
    ids = f"{number:08d}".encode()
    turned = random.randint(4, 30)
    lines = kind[:turned] + _loop() + kind[turned:]
    return folder / f"{session_id}.jsonl", (line.replace(b"@id", ids) for line in lines)


def _templates(seed: int) -> list[bytes]:
    """An agent's lines, with places for the time and the agent's number."""
    return [_template(json.loads(line)) for line in islice(endless_lines(seed), 200)]


def _template(record: dict[str, object]) -> bytes:
    record["timestamp"] = "@now"
    record["sessionId"] = SESSION[:-8] + "@id"
    record["uuid"] = str(record["uuid"])[:-8] + "@id"
    if record["parentUuid"] is not None:
        record["parentUuid"] = str(record["parentUuid"])[:-8] + "@id"
    return json.dumps(record, separators=(",", ":")).encode()


def _loop() -> list[bytes]:
    """One call that fails, four times over."""
    lines = []
    for turn in range(4):
        call = {
            "type": "tool_use",
            "id": f"toolu_{turn}",
            "name": "Bash",
            "input": {"command": "make"},
        }
        failed = {
            "type": "tool_result",
            "tool_use_id": f"toolu_{turn}",
            "content": "make: *** No targets specified and no makefile found.  Stop.",
            "is_error": True,
        }
        lines += [
            _line(
                2 * turn, "assistant", {"role": "assistant", "id": f"m{turn}", "content": [call]}
            ),
            _line(2 * turn + 1, "user", {"role": "user", "content": [failed]}),
        ]
    return lines


def _line(number: int, kind: str, message: dict[str, object]) -> bytes:
    record: dict[str, object] = {
        "parentUuid": None,
        "type": kind,
        "message": message,
        "cwd": "/home/user/app",
        "uuid": f"22222222-2222-4222-8222-{number:04d}00000000",
    }
    return _template(record)


async def _lags(database: Path, found: list[Found], since: float) -> list[float]:
    lags: list[float] = []
    async with SqliteStore(database) as store:
        for session_id, seq, told_at in found:
            entries = store.entries(session_id, after=seq - 1)
            raw = (await anext(entries)).raw
            written_at = datetime.fromisoformat(json.loads(raw)["timestamp"]).timestamp()
            if written_at >= since:
                lags.append((told_at - written_at) * 1_000)
    return lags


if __name__ == "__main__":
    print(measure())
