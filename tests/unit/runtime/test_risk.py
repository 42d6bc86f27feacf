"""The risk of failure: what it sees, what it weighs, and what it leaves alone."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest

from supervisor.core.entry import Entry, Text, ToolResult
from supervisor.core.verdict import Evidence, FailureMode, Severity, Verdict
from supervisor.policy.risk import RiskUse
from supervisor.runtime import registry
from supervisor.runtime.judge import Judge
from supervisor.runtime.risk import FEATURES, SCHEMA, SHIPPED, RiskModel, Signs, shipped_model
from tests.unit.runtime.conftest import MAIN, Transcript
from tests.unit.runtime.plugins import Marker


def result(seq: int, text: str, *, is_error: bool = False) -> ToolResult:
    return ToolResult(
        session_id="s", transcript="t", seq=seq, call_id=f"c{seq}", text=text, is_error=is_error
    )


def verdict(confidence: float, mode: FailureMode = FailureMode.DRIFT) -> Verdict:
    return Verdict(
        session_id="s",
        transcript="t",
        seq=3,
        onset_seq=2,
        detector="d",
        failure_mode=mode,
        severity=Severity.WARNING,
        confidence=confidence,
        summary="It drifts.",
        evidence=Evidence(entries=(3,)),
    )


def seen(*entries: Entry) -> dict[str, float]:
    signs = Signs()
    for entry in entries:
        signs.observe(entry)
    return dict(zip(FEATURES, signs.values(), strict=True))


def model(**sharpening: float) -> RiskModel:
    shares = {FailureMode(name): share for name, share in sharpening.items()}
    return RiskModel(schema=SCHEMA, intercept=0.0, weights={}, base=0.3, sharpening=shares)


def test_the_shipped_model_weighs_what_the_code_computes() -> None:
    shipped = shipped_model()
    assert shipped is not None
    assert set(shipped.weights) <= set(FEATURES)
    assert all(one.weight > 0 and one.low < one.high for one in shipped.weights.values())
    assert 0 < shipped.base < 1
    assert SHIPPED.stat().st_size < 2_000


def test_errors_and_known_results_are_a_standstill_and_news_ends_it() -> None:
    stuck = [result(1, "one"), result(2, "one"), result(3, "two", is_error=True)]
    assert seen(*stuck)["standstill"] == pytest.approx(1.0986, abs=1e-3)  # two of them
    assert seen(*stuck)["errors"] == pytest.approx(1 / 6)
    apart = [result(1, "one"), result(2, "one"), result(3, "new"), result(4, "one")]
    assert seen(*apart)["standstill"] == pytest.approx(0.6931, abs=1e-3)


def test_half_a_character_and_no_text_are_taken() -> None:
    text = Text(session_id="s", transcript="t", seq=1, text="\ud800")
    assert seen(text, result(2, "\udfff" * 900), result(3, ""))["errors"] == 0


def test_a_riskier_run_has_a_higher_risk_and_extremes_count_as_the_edge() -> None:
    shipped = shipped_model()
    assert shipped is not None
    steps = [shipped.risk((written, 0.1, 1.0, 0.5)) for written in (0, 8, 10, 12, 1e9)]
    assert all(lower <= higher for lower, higher in pairwise(steps))
    assert 0 < steps[0] < steps[-1] < 1


def test_state_is_small_however_long_the_session() -> None:
    signs = Signs()
    for seq in range(5_000):
        signs.observe(result(seq, f"result {seq}" * 50, is_error=seq % 3 == 0))
    parts = [getattr(signs, name) for name in Signs.__slots__]
    assert sys.getsizeof(signs) + sum(map(sys.getsizeof, parts)) < 2_048


def test_sharpening_is_off_unless_asked_for_and_unless_it_helped() -> None:
    learned = model(drift=1.0)
    assert learned.weighed(verdict(0.5), 0.9, sharpen=False).confidence == 0.5
    assert learned.weighed(verdict(0.5), 0.9, sharpen=True).confidence == 0.7311
    assert model().weighed(verdict(0.5), 0.9, sharpen=True).confidence == 0.5
    loop = learned.weighed(verdict(0.5, FailureMode.LOOP), 0.9, sharpen=True)
    assert loop.confidence == 0.5
    assert loop.risk == 0.9


def test_no_risk_lifts_a_weak_finding_to_where_policies_act() -> None:
    learned = model(drift=1.0)
    lifted = learned.weighed(verdict(0.59), 0.9999, sharpen=True).confidence
    assert 0.59 < lifted < 0.8
    assert learned.weighed(verdict(1.0), 0.001, sharpen=True).confidence == 1.0


def test_a_model_of_another_version_is_loud_and_leaves_verdicts_without_risk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    other = msgspec.structs.replace(model(), schema=SCHEMA + 1)
    (tmp_path / "old.json").write_bytes(msgspec.json.encode(other))
    monkeypatch.setattr("supervisor.runtime.risk.SHIPPED", tmp_path / "old.json")
    shipped_model.cache_clear()
    try:
        assert shipped_model() is None
        assert "old.json" in caplog.text
        judged = marked(Judge("s", {Marker.name: Marker}, {}))
        assert [one.risk for one in judged] == [None]
    finally:
        shipped_model.cache_clear()


def marked(judge: Judge) -> list[Verdict]:
    transcript = Transcript(MAIN)
    transcript.prompt("Do it.")
    transcript.text("FAIL:it")
    return [one for entry in transcript.stored() for one in judge.observe(entry).verdicts]


def test_verdicts_tell_the_risk_unless_the_policy_switches_it_off() -> None:
    (told,) = marked(Judge("s", {Marker.name: Marker}, {}))
    assert told.risk is not None
    assert 0 < told.risk < 1
    (untold,) = marked(Judge("s", {Marker.name: Marker}, {}, RiskUse(enabled=False)))
    assert untold == msgspec.structs.replace(told, risk=None)


def test_the_registry_is_not_needed() -> None:
    assert Judge("s", registry.detectors(), {}).signs("nobody's") is None
