"""`lucid run` with a collector and JSON logs: what goes out, and what does not."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from supervisor.testing import ScriptedModel, load_scenario
from tests.collector import attributes, collecting

pytestmark = pytest.mark.anyio

MARKS = (b"waiting for the worker's report", b"No space left on device", b"cat build.log")
"""What stands in the session's prompts, calls and results."""


async def test_a_run_tells_a_collector_and_logs_no_text(tmp_path: Path) -> None:
    scenario = load_scenario("stuck-then-phantom").model_copy(update={"delay": 0.0})
    work = tmp_path / "work"
    work.mkdir()
    with collecting() as collector:
        async with ScriptedModel(scenario) as model:
            model.scenario.prepare(work)
            own = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
            logs = {"LUCID_LOG_FORMAT": "json", "LUCID_LOG_LEVEL": "info"}
            otel = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SERVICE_NAME": "shop"}
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                *("-m", "supervisor.cli", "run", scenario.objective, "--json"),
                cwd=work,
                env=own
                | model.env(tmp_path / "home")
                | {"LUCID_STORE": str(tmp_path / "lucid.db"), **logs, **otel},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            async with asyncio.timeout(60):
                out, err = await process.communicate()
    summary = json.loads(out.splitlines()[-1])
    assert summary["verdicts"]
    assert MARKS[0] in out

    assert all(json.loads(line)["level"] for line in err.splitlines())
    assert not any(mark in err for mark in MARKS)

    assert collector.services == {"shop"}
    verdicts = [
        attributes(event.attributes)
        for event in collector.events
        if event.event_name == "gen_ai.evaluation.result"
    ]
    assert {one["gen_ai.conversation.id"] for one in verdicts} == {summary["session_id"]}
    found = {one["gen_ai.evaluation.name"] for one in verdicts}
    assert found == set(summary["verdicts"]) >= {"loop"}
    actions = [span for span in collector.spans if span.name.startswith("lucid.action ")]
    assert actions
    assert {span.trace_id for span in actions} == {collector.span("invoke_agent").trace_id}
    assert not any(mark in collector.raw for mark in MARKS)
