"""Writes what is generated: `python -m dashboards.source.build`, or `make dashboards`.

`grafana/*.json` from the Python beside this file, `prometheus/*.yaml` from `mixin/`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _jsonnet  # type: ignore[import-untyped]  # it has no types
import yaml
from grafana_foundation_sdk.builders.dashboard import Dashboard
from grafana_foundation_sdk.cog.encoder import JSONEncoder

from dashboards.source.fleet import fleet
from dashboards.source.health import health
from dashboards.source.recovery import recovery
from dashboards.source.session import session

__all__ = ["FOLDER", "generated", "main", "rendered"]

FOLDER = Path(__file__).resolve().parents[1]

_DASHBOARDS: dict[str, Callable[[], Dashboard]] = {
    "grafana/lucid-fleet.json": fleet,
    "grafana/lucid-session.json": session,
    "grafana/lucid-recovery.json": recovery,
    "grafana/lucid-supervisor.json": health,
}
_RULES = {
    "prometheus/lucid-alerts.yaml": "prometheusAlerts",
    "prometheus/lucid-rules.yaml": "prometheusRules",
}
_HEAD = "# Written by `make dashboards` from ../mixin. Change that, not this file.\n"


def generated() -> dict[str, str]:
    """The text of every generated file, by its path in the folder."""
    boards = {path: _board(make) for path, make in _DASHBOARDS.items()}
    return boards | {path: _rules(part) for path, part in _RULES.items()}


def _board(make: Callable[[], Dashboard]) -> str:
    return json.dumps(make().build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _rules(part: str) -> str:
    return _HEAD + yaml.dump(rendered(part), Dumper=_Plain, sort_keys=False, width=1_000)


def rendered(part: str, ours: str = "{}") -> dict[str, Any]:
    """A part of the mixin, such as `prometheusAlerts`; `ours` is jsonnet to add to it."""
    mixin = f"((import '{FOLDER}/mixin/mixin.libsonnet') + {ours}).{part}"
    found: dict[str, Any] = json.loads(_jsonnet.evaluate_snippet(part, mixin))
    return found


class _Plain(yaml.SafeDumper):
    """Texts of several lines as such."""


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
