"""Alerts, rules, dashboards and runbooks: in step with their sources, and with the metrics."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards.source.build import FOLDER, generated, rendered
from supervisor.metrics_page import described, label_values
from tests.prometheus import program

ALERTS = (
    "LucidSessionLooping",
    "LucidSessionStalled",
    "LucidContextNearlyFull",
    "LucidFalseCompletion",
    "LucidRecoveryFailing",
    "LucidInterventionsTooFrequent",
    "LucidIngestLagging",
    "LucidStoreUnavailable",
    "LucidPolicyReloadFailed",
    "LucidDown",
)
RULE_FILES = sorted((FOLDER / "prometheus").glob("*.yaml"))
BOARDS = sorted((FOLDER / "grafana").glob("*.json"))
TESTS = sorted((FOLDER / "prometheus" / "tests").glob("*.yaml"))


def rules() -> list[dict[str, Any]]:
    texts = [path.read_text(encoding="utf-8") for path in RULE_FILES]
    return [r for text in texts for g in yaml.safe_load(text)["groups"] for r in g["rules"]]


def alerts() -> list[dict[str, Any]]:
    return [rule for rule in rules() if "alert" in rule]


def board(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def panels() -> list[Any]:
    return [
        pytest.param(panel, id=f"{path.stem}: {panel['title']}")
        for path in BOARDS
        for panel in board(path)["panels"]
    ]


def expressions() -> list[str]:
    asked = [rule["expr"] for rule in rules()]
    for path in BOARDS:
        loaded = board(path)
        asked += [target["expr"] for panel in loaded["panels"] for target in panel["targets"]]
        asked += [one["expr"] for one in loaded.get("annotations", {}).get("list", [])]
        asked += [v["query"] for v in loaded["templating"]["list"] if v["type"] == "query"]
    return asked


def known_series() -> set[str]:
    names = {"up"} | {rule["record"] for rule in rules() if "record" in rule}
    for one in described():
        histogram = one.type in ("histogram", "gaugehistogram")
        names |= {f"{one.name}_bucket"} if histogram else {one.name}
    return names


def labels_of_values() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for label, values, _ in label_values():
        found.setdefault(label, set()).update(values)
    return found


@pytest.mark.parametrize("path", generated())
def test_what_is_generated_is_in_step(path: str) -> None:
    assert (FOLDER / path).read_text(encoding="utf-8") == generated()[path], "run: make dashboards"


def test_nothing_else_lies_among_what_is_generated() -> None:
    assert {str(path.relative_to(FOLDER)) for path in RULE_FILES + BOARDS} == set(generated())


def test_the_mixin_has_the_dashboards_too() -> None:
    found = rendered("grafanaDashboards")
    assert found == {path.name: board(path) for path in BOARDS}


def test_a_site_may_have_it_otherwise() -> None:
    ours = (
        "{_config+:: {runbookUrl: 'https://wiki/%s', absentIsDown: false, selector: 'job=\"x\"'}}"
    )
    found = [r for g in rendered("prometheusAlerts", ours)["groups"] for r in g["rules"]]
    (down,) = (rule for rule in found if rule["alert"] == "LucidDown")
    assert down["expr"] == 'up{job="x"} == 0'
    assert down["annotations"]["runbook_url"] == "https://wiki/LucidDown"


def test_every_metric_that_is_asked_for_exists() -> None:
    for expr in expressions():
        outside_of_strings = re.sub(r'"(?:[^"\\]|\\.)*"', '""', expr)
        asked = re.findall(r"\b(?:\w+:)?lucid[_:][\w:]+|\bup\b", outside_of_strings)
        assert asked, expr
        assert set(asked) <= known_series(), expr


def test_every_label_value_that_is_asked_for_exists() -> None:
    values = labels_of_values()
    for expr in expressions():
        for label, how, pattern in re.findall(r'(\w+)(=|!=|=~|!~)"([^"$]*)"', expr):
            if label in values:
                wanted = pattern.split("|") if "~" in how else [pattern]
                assert set(wanted) <= values[label], expr


def test_the_alerts_are_these() -> None:
    assert sorted(rule["alert"] for rule in alerts()) == sorted(ALERTS)


@pytest.mark.parametrize("rule", [pytest.param(rule, id=rule["alert"]) for rule in alerts()])
def test_an_alert_says_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    name, notes = rule["alert"], rule["annotations"]

    assert rule["labels"] == {"severity": rule["labels"]["severity"]}
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert set(notes) == {"summary", "description", "runbook_url"}
    assert re.fullmatch(r"[A-Z][^{}]+\.", notes["summary"])
    assert notes["description"].endswith(".")
    assert notes["runbook_url"].endswith(f"/{name}")
    assert f"[{name}](runbooks/{name}.md) | {rule['labels']['severity']} |" in readme()


def readme() -> str:
    return (FOLDER / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ALERTS)
def test_a_runbook_says_meaning_impact_diagnosis_and_mitigation(name: str) -> None:
    text = (FOLDER / "runbooks" / f"{name}.md").read_text(encoding="utf-8")

    assert text.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
        "Meaning",
        "Impact",
        "Diagnosis",
        "Mitigation",
    ]
    names = {one.name for one in described()}
    assert set(re.findall(r"\blucid_\w+", text)) <= names


def test_there_is_no_runbook_without_an_alert() -> None:
    assert {path.stem for path in (FOLDER / "runbooks").iterdir()} == set(ALERTS)


@pytest.mark.parametrize("name", ALERTS)
def test_each_alert_is_tested_to_fire_to_be_quiet_and_to_resolve(name: str) -> None:
    text = (FOLDER / "prometheus" / "tests" / f"{name}.yaml").read_text(encoding="utf-8")
    cases = [one.get("alert_rule_test", []) for one in yaml.safe_load(text)["tests"]]
    fires = [[bool(check["exp_alerts"]) for check in case] for case in cases]

    assert {check["alertname"] for case in cases for check in case} == {name}
    assert [True, False] in fires
    assert any(case and not any(case) for case in fires)


def test_promtool_finds_no_fault_in_the_rules() -> None:
    checked = promtool("check", "rules", *map(str, RULE_FILES))
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_promtool_has_the_alerts_fire_when_they_should() -> None:
    tested = promtool("test", "rules", *map(str, TESTS))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def promtool(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [program("promtool"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("path", BOARDS, ids=[path.stem for path in BOARDS])
def test_a_dashboard_is_one_that_grafanas_own_schema_reads_back(path: Path) -> None:
    read = json.loads(json.dumps(Dashboard.from_json(board(path)), cls=JSONEncoder))
    assert read == board(path)


@pytest.mark.parametrize("path", BOARDS, ids=[path.stem for path in BOARDS])
def test_a_dashboard_fits_a_screen_or_two_and_leaves_no_holes(path: Path) -> None:
    loaded = board(path)
    places = [panel["gridPos"] for panel in loaded["panels"]]

    assert loaded["uid"] == path.stem
    assert len(places) <= 17
    rows: dict[int, int] = {}
    for place in places:
        rows[place["y"]] = rows.get(place["y"], 0) + place["w"]
    assert set(rows.values()) == {24}


@pytest.mark.parametrize("panel", panels())
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]) -> None:
    assert len(panel["title"]) <= 40
    assert panel["description"].endswith(".")
    assert panel["fieldConfig"]["defaults"]["unit"]
    assert panel["datasource"]["uid"] == "${datasource}"
    for target in panel["targets"]:
        assert 'job=~"$job", instance=~"$instance"' in target["expr"]


@pytest.mark.parametrize("panel", panels())
def test_what_is_shown_as_it_is_now_is_asked_for_now(panel: dict[str, Any]) -> None:
    """Over time, the last value of a series that is no more would be shown."""
    for target in panel["targets"]:
        if panel["type"] == "bargauge" or "$__range" in target["expr"]:
            assert target["instant"]
        else:
            assert target["range"]


@pytest.mark.parametrize("panel", panels())
def test_a_panel_asks_for_what_is_lucids(panel: dict[str, Any]) -> None:
    """Chosen is by default every job that Prometheus has."""
    for target in panel["targets"]:
        asked = re.findall(r"(\w+){job=~", target["expr"])
        assert asked
        assert all(name.startswith("lucid_") for name in asked)


@pytest.mark.parametrize("panel", panels())
def test_a_panel_is_in_the_unit_of_what_it_asks_for(panel: dict[str, Any]) -> None:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    for target in panel["targets"]:
        expr = target["expr"]
        if "_seconds_bucket" in expr or re.match(r"max[^/]*lucid_longest_\w+_seconds", expr):
            assert unit == "s"
        if "_ratio{" in expr:
            assert unit == "percentunit"
