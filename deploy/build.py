"""Writes what is generated: `python -m deploy.build`, or `make dashboards`.

The alerts and rules of `dashboards/prometheus/` as a PrometheusRule, and the settings that
have an agent post its hooks to the sidecar of its pod, for kustomize and for the chart.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from supervisor.sidecar.snippet import hooks_for

__all__ = ["FOLDER", "generated", "main"]

FOLDER = Path(__file__).resolve().parent

_RULES = FOLDER.parent / "dashboards" / "prometheus"
_HEAD = "# Written by `make dashboards`. Change its source, not this file.\n"
_LABELS = {"app.kubernetes.io/name": "lucid"}


def generated() -> dict[str, str]:
    """The text of every generated file, by its path in the folder."""
    groups = _HEAD + yaml.dump({"groups": _groups()}, Dumper=_Plain, sort_keys=False, width=1_000)
    rules = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "lucid", "labels": _LABELS},
        "spec": {"groups": _groups()},
    }
    hooks = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "lucid-hooks", "labels": _LABELS},
        "data": {"settings.json": _settings()},
    }
    return {
        "kustomize/base/prometheusrule.yaml": _manifest(rules),
        "kustomize/agent/hooks.yaml": _manifest(hooks),
        "helm/lucid/files/rules.yaml": groups,
        "helm/lucid/files/settings.json": _settings(),
    }


def _groups() -> list[dict[str, Any]]:
    texts = [path.read_text(encoding="utf-8") for path in sorted(_RULES.glob("*.yaml"))]
    return [group for text in texts for group in yaml.safe_load(text)["groups"]]


def _settings() -> str:
    """What `lucid hooks print --token-env LUCID_TOKEN` prints."""
    hooks = hooks_for("http://127.0.0.1:7311/hooks", token_env="LUCID_TOKEN")
    return json.dumps({"hooks": {event: [one] for event, one in hooks.items()}}, indent=2) + "\n"


def _manifest(content: dict[str, Any]) -> str:
    return _HEAD + yaml.dump(content, Dumper=_Plain, sort_keys=False, width=1_000)


class _Plain(yaml.SafeDumper):
    """Texts of several lines as such, and nothing by reference."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Plain.add_representer(str, _text)


def main() -> None:
    """Write them all."""
    for path, text in generated().items():
        (FOLDER / path).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
