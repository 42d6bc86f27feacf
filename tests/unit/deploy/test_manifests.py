"""The manifests of deploy/: valid, restricted, in step with each other and with what they run."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from deploy.build import FOLDER, generated
from supervisor.cli.commands import lucid
from tests.unit.deploy.charts import lint, render

KUSTOMIZE = FOLDER / "kustomize"
PLACES = ["base", "agent", "overlays/production", "overlays/agent-job"]
OLDEST, NEWEST = "1.29", "1.37"
"""Kubernetes: the first with native sidecars, and the newest that there are schemas of."""
TO_END_IN = 5
"""Seconds that a process needs to end, once its grace is over."""

Manifest = dict[str, Any]


def plain(place: str) -> list[Manifest]:
    """The manifests of a folder without any overlay."""
    listed = yaml.safe_load((KUSTOMIZE / place / "kustomization.yaml").read_text())["resources"]
    return [yaml.safe_load((KUSTOMIZE / place / name).read_text()) for name in listed]


def kustomized(place: str) -> list[Manifest]:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl, which renders kustomize's folders, is not there")
    command = [kubectl, "kustomize", str(KUSTOMIZE / place)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def charted(**values: Any) -> list[Manifest]:
    return render("lucid", {"agent": {"enabled": True}} | values)


def named(manifests: list[Manifest], kind: str) -> Manifest:
    (found,) = (one for one in manifests if one["kind"] == kind)
    return found


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    for one in manifests:
        if one["kind"] in {"Deployment", "Job"}:
            yield one["spec"]["template"]["spec"]


def containers(manifests: list[Manifest]) -> list[Manifest]:
    return [c for pod in pods(manifests) for c in pod.get("initContainers", []) + pod["containers"]]


def check(manifests: list[Manifest]) -> None:
    validate = pytest.importorskip("kubernetes_validate").validate
    for one in manifests:
        if one["apiVersion"].startswith("monitoring.coreos.com/"):
            check_monitoring(one)
            continue
        for version in (OLDEST, NEWEST):
            validate(one, version, strict=True)


def check_monitoring(one: Manifest) -> None:
    """What the Prometheus operator's own definitions ask of the fields that are used here."""
    assert one["apiVersion"] == "monitoring.coreos.com/v1"
    spec = one["spec"]
    if one["kind"] == "PodMonitor":
        assert set(spec) == {"selector", "podTargetLabels", "podMetricsEndpoints"}
        (endpoint,) = spec["podMetricsEndpoints"]
        assert set(endpoint) == {"port", "path", "interval", "authorization"}
        assert set(endpoint["authorization"]["credentials"]) == {"name", "key"}
        return
    assert one["kind"] == "PrometheusRule"
    for group in spec["groups"]:
        assert set(group) == {"name", "rules"}
        for rule in group["rules"]:
            known = {"alert", "record", "expr", "for", "labels", "annotations"}
            assert {"expr"} < set(rule) <= known


@pytest.mark.parametrize("path", generated())
def test_what_is_generated_is_in_step(path: str) -> None:
    assert (FOLDER / path).read_text(encoding="utf-8") == generated()[path], "run: make dashboards"


@pytest.mark.parametrize("place", ["base", "agent"])
def test_the_manifests_are_what_the_api_takes(place: str) -> None:
    check(plain(place))


@pytest.mark.parametrize("place", PLACES)
def test_kustomize_renders_what_the_api_takes(place: str) -> None:
    check(kustomized(place))


def test_an_overlay_changes_what_it_says_and_nothing_else() -> None:
    worker = named(kustomized("overlays/production"), "Deployment")
    pod = worker["spec"]["template"]["spec"]

    assert worker["spec"]["replicas"] == 4
    assert pod["containers"][0]["image"] == "registry.example.org/lucid:0.1.0"
    assert {"name": "work", "persistentVolumeClaim": {"claimName": "agents-work"}} in pod["volumes"]
    assert len(pod["volumes"]) == 4
    job = kustomized("overlays/agent-job")
    assert {one["metadata"]["name"] for one in job} == {
        "lucid-agent-changelog",
        "lucid-hooks-changelog",
    }
    given = {e["name"]: e.get("value") for e in containers(job)[1]["env"]}
    assert given["OBJECTIVE"] == "Bring CHANGELOG.md up to date."
    assert given["HOME"] == "/home/agent"


def test_the_chart_renders_what_the_api_takes() -> None:
    check(charted())


def test_helm_finds_no_fault_in_the_chart() -> None:
    assert lint() == []


def test_the_chart_and_the_folders_are_the_same() -> None:
    """But for what Helm adds."""

    def bare(value: Any) -> Any:
        if isinstance(value, list):
            return [bare(one) for one in value]
        if not isinstance(value, dict):
            return value
        added = {"app.kubernetes.io/instance", "app.kubernetes.io/managed-by", "helm.sh/chart"}
        return {
            key: bare(one) for key, one in value.items() if key not in added | {"imagePullPolicy"}
        }

    ours = {one["kind"]: bare(one) for one in plain("base") + plain("agent")}
    assert {one["kind"]: bare(one) for one in charted()} == ours


def test_a_release_by_another_name_is_watched_by_the_same_alerts() -> None:
    monitor = named(render("agents", {}), "PodMonitor")

    down = next(
        rule["expr"]
        for group in named(plain("base"), "PrometheusRule")["spec"]["groups"]
        for rule in group["rules"]
        if rule.get("alert") == "LucidDown"
    )
    (job,) = set(re.findall(r'job=~"([^"]+)"', down))
    assert re.fullmatch(job, f"agents/{monitor['metadata']['name']}")


def test_runbooks_are_where_the_chart_is_told() -> None:
    url = "https://wiki.example.org/lucid/"
    rules = named(charted(monitoring={"runbookUrl": url}), "PrometheusRule")["spec"]["groups"]
    alerts = [rule for group in rules for rule in group["rules"] if "alert" in rule]

    assert all(one["annotations"]["runbook_url"] == url + one["alert"] for one in alerts)


def test_a_value_that_the_chart_does_not_know_is_refused() -> None:
    with pytest.raises(Exception, match="replica"):
        charted(worker={"replica": 3})


def test_an_address_of_runbooks_that_a_name_cannot_follow_is_refused() -> None:
    with pytest.raises(Exception, match="runbookUrl"):
        charted(monitoring={"runbookUrl": "https://wiki.example.org/lucid"})


def test_a_site_adds_policies_variables_and_the_key_of_its_registry() -> None:
    more = [{"name": "OTEL_EXPORTER_OTLP_ENDPOINT", "value": "http://collector:4318"}]
    file = "/etc/lucid/policies/ours.yaml"
    manifests = charted(
        image={"pullSecrets": ["registry"]},
        policies="our-policies",
        worker={"env": more, "policy": file},
        agent={"enabled": True, "env": more, "sidecar": {"env": more, "policy": file}},
    )

    check(manifests)
    for pod in pods(manifests):
        assert pod["imagePullSecrets"] == [{"name": "registry"}]
        assert {"name": "policies", "configMap": {"name": "our-policies"}} in pod["volumes"]
    for one in containers(manifests):
        assert one["env"][-1] == more[0]
        mounted = {place["mountPath"] for place in one["volumeMounts"]}
        runs_lucid = one["name"] != "agent"
        assert (f"--policy={file}" in one["args"]) is runs_lucid
        assert (str(Path(file).parent) in mounted) is runs_lucid


def test_whoever_may_connect_reaches_the_port_that_lucid_listens_on() -> None:
    """By its number: older network plugins do not know the names of a sidecar's ports."""
    manifests = plain("base") + plain("agent")
    ((allowed,),) = (rule["ports"] for rule in named(manifests, "NetworkPolicy")["spec"]["ingress"])
    for one in containers(manifests):
        if one["name"] != "agent":
            assert one["ports"] == [{"name": "http", "containerPort": allowed["port"]}]
            assert f"--listen=0.0.0.0:{allowed['port']}" in one["args"]


def test_everybody_is_restricted() -> None:
    """As the Pod Security Standard of that name says, and a read-only root besides."""
    manifests = plain("base") + plain("agent")
    for pod in pods(manifests):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        kinds = {kind for volume in pod["volumes"] for kind in volume if kind != "name"}
        assert kinds <= {"secret", "configMap", "emptyDir", "persistentVolumeClaim"}
    for one in containers(manifests):
        assert one["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert one["resources"]["requests"]
    assert named(manifests, "ServiceAccount")["automountServiceAccountToken"] is False


def test_lucid_is_a_native_sidecar_that_the_agent_waits_for() -> None:
    (pod,) = pods(plain("agent"))
    (lucid,) = pod["initContainers"]

    assert lucid["restartPolicy"] == "Always"
    # Not /readyz: it waits for a folder that the agent makes, which waits for this.
    assert lucid["startupProbe"]["httpGet"]["path"] == "/healthz"
    assert lucid["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert lucid["livenessProbe"]["httpGet"]["path"] == "/healthz"


def test_the_sidecar_sees_transcripts_where_the_agent_has_them() -> None:
    (pod,) = pods(plain("agent"))
    lucid, agent = pod["initContainers"][0], pod["containers"][0]
    mounted = [{v["name"]: v["mountPath"] for v in one["volumeMounts"]} for one in (lucid, agent)]
    environment = {one["name"]: one.get("value") for one in agent["env"]}

    for shared in ("agent-home", "work"):
        assert mounted[0][shared] == mounted[1][shared]
    assert f"{environment['CLAUDE_CONFIG_DIR']}/projects" in lucid["args"]
    assert environment["CLAUDE_CONFIG_DIR"].startswith(mounted[1]["agent-home"])
    assert {"LUCID_STORE", "LUCID_STORE_KEY"}.isdisjoint(environment)


def grace(one: Manifest) -> int:
    (given,) = (a.removeprefix("--grace=") for a in one["args"] if a.startswith("--grace="))
    return int(given)


@pytest.mark.parametrize("seconds", [None, 240])
def test_a_pod_has_the_time_that_its_drain_takes(seconds: int | None) -> None:
    manifests = plain("base") + plain("agent")
    if seconds is not None:
        given = {"graceSeconds": seconds}
        manifests = charted(worker=given, agent=given | {"enabled": True, "sidecar": given})
    worker, agent = pods(manifests)
    if "initContainers" in worker:
        worker, agent = agent, worker

    assert worker["terminationGracePeriodSeconds"] >= grace(worker["containers"][0]) + TO_END_IN
    for_the_agent = 30 if seconds is None else seconds
    left = agent["terminationGracePeriodSeconds"] - for_the_agent
    assert left >= grace(agent["initContainers"][0]) + TO_END_IN


def test_lucids_arguments_are_ones_that_it_takes() -> None:
    for one in containers(plain("base") + plain("agent")):
        if "command" in one:
            continue
        name, *arguments = one["args"]
        command = lucid.get_command(click.Context(lucid), name)
        assert command is not None
        known = {option for parameter in command.params for option in parameter.opts}
        assert {a.partition("=")[0] for a in arguments if a.startswith("--")} <= known


def test_its_variables_are_settings() -> None:
    from supervisor.privacy.keyring import VARIABLE
    from supervisor.settings import Settings

    known = {f"LUCID_{name.upper()}" for name in Settings.model_fields} | {VARIABLE}
    given = {e["name"] for c in containers(plain("base") + plain("agent")) for e in c["env"]}
    assert {name for name in given if name.startswith("LUCID_")} <= known


def test_the_locks_of_the_image_pin_what_the_project_does() -> None:
    def pins(path: Path) -> set[str]:
        return set(re.findall(r"^([\w.-]+==[^ ;\\]+)", path.read_text(), re.MULTILINE))

    ours = pins(FOLDER.parent / "requirements.lock")
    for name in ("requirements.lock", "build.lock"):
        assert pins(FOLDER / name)
        assert pins(FOLDER / name) <= ours, "run: make lock"


def test_the_image_is_what_the_manifests_take_it_for() -> None:
    text = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    image = {line.partition(" ")[0]: line.partition(" ")[2] for line in text.splitlines()}

    assert image["ENTRYPOINT"] == '["lucid"]'
    assert "HOME=/var/lib/lucid" in text
    for pod in pods(plain("base") + plain("agent")):
        user, group = (pod["securityContext"][name] for name in ("runAsUser", "runAsGroup"))
        assert image["USER"] == f"{user}:{group}"
    for one in containers(plain("base") + plain("agent")):
        if one["name"] != "agent":
            mounted = {place["mountPath"] for place in one["volumeMounts"]}
            assert {"/var/lib/lucid", "/tmp", "/work"} <= mounted, "it writes nowhere else"


def test_the_image_is_built_from_what_it_is_allowed_to_see() -> None:
    root = FOLDER.parent
    allowed = (root / ".dockerignore").read_text(encoding="utf-8").splitlines()
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    packed = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    locks = ["deploy/build.lock", "deploy/requirements.lock"]

    needed = {*packed, *locks, "pyproject.toml", "README.md", "LICENSE"}
    assert {line[1:] for line in allowed if line.startswith("!")} == needed
