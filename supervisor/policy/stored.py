"""A policy from a session's row: the JSON that it was kept as, read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import TypeAdapter

from supervisor.core.action import Action
from supervisor.core.detector import Detector
from supervisor.core.duration import duration_text
from supervisor.policy.load import parse_policy
from supervisor.policy.model import Cooldown, Policy

__all__ = ["restored_policy"]

_COOLDOWN = TypeAdapter(Cooldown)


def restored_policy(
    text: str,
    name: str,
    *,
    detectors: Mapping[str, type[Detector]],
    actions: Mapping[str, type[Action]],
) -> Policy:
    """The policy that `Policy.model_dump_json` wrote. Detectors that are not installed any
    more are left out.

    Raises `PolicyError` where it names an action that is not installed, or was written by a
    version that knew other keys; its problems call it `name`.
    """
    data = json.loads(text)
    known = {key: value for key, value in data["detectors"].items() if key in detectors}
    limits = {key: _limit(value) for key, value in data["limits"].items()}
    rules = [_rule(rule) for rule in data["rules"]]
    source = data | {"detectors": known, "limits": limits, "rules": rules}
    # JSON is YAML: one reader, one way to tell faults.
    return parse_policy(json.dumps(source), name, detectors=detectors, actions=actions)


def _rule(rule: dict[str, Any]) -> dict[str, Any]:
    ladder = [_rung(rung) for rung in rule["ladder"]]
    return rule | {"ladder": ladder, "cooldown": _distance(rule["cooldown"])}


def _rung(rung: dict[str, Any]) -> dict[str, Any]:
    own = {
        "wait": _distance(rung.get("wait")),
        "until": rung.get("until"),
        "optional": rung.get("optional") or None,
    }
    own = {key: value for key, value in own.items() if value is not None}
    if not rung.get("others"):
        return {rung["action"]: rung["params"] | own}
    options = [{rung["action"]: rung["params"]}, *map(_rung, rung["others"])]
    return {"choose": "best", "of": options, "explore": rung["explore"], **own}


def _limit(limit: dict[str, Any] | None) -> dict[str, Any] | None:
    if limit is None or limit.get("then") is None:
        return limit
    return limit | {"then": _rung(limit["then"])}


def _distance(distance: dict[str, Any] | None) -> str | None:
    if distance is None:
        return None
    read = _COOLDOWN.validate_python(distance)
    return f"{read.entries} entries" if read.time is None else duration_text(read.time)
