"""What an escalation says, in each of the forms that it is posted in. Pure.

By default nothing of the transcript is in it: what was decided, on which failure, where.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any

import msgspec

from supervisor.core.decision import Decision
from supervisor.core.text import one_line

__all__ = ["Post", "alert", "dedup_key", "notice", "signature", "slack_message", "told"]

_ALERT_LASTS = timedelta(hours=1)
"""An alert that nothing repeats is over then."""


class Post(msgspec.Struct, frozen=True):
    """What is posted."""

    body: bytes
    headers: dict[str, str]


def dedup_key(decision: Decision) -> str:
    """The same for escalations of the same failure, on every host."""
    verdict = decision.verdict
    what = (verdict.failure_mode, verdict.agent_id or "", verdict.key)
    about = ("limit", decision.limit) if decision.limit else (decision.rule or "", *what)
    text = "\0".join((decision.session_id, *about)).encode(errors="surrogatepass")
    return blake2b(text, digest_size=12).hexdigest()


def notice(decision: Decision, *, host: str, objective: str | None, quotes: bool) -> dict[str, Any]:
    """The webhook's JSON object; with `quotes`, text of the transcript is in it, bounded."""
    verdict = decision.verdict
    said: dict[str, Any] = {
        "event": "lucid.escalation",
        "version": 1,
        "dedup_key": dedup_key(decision),
        "at": decision.at.isoformat(),
        "host": host,
        "session_id": decision.session_id,
        "agent_id": verdict.agent_id,
        "decision_id": decision.id,
        "rule": decision.rule,
        "reason": decision.reason,
        "failure_mode": verdict.failure_mode,
        "detector": verdict.detector,
        "severity": verdict.severity,
        "confidence": verdict.confidence,
        "entry": verdict.seq,
        "onset_entry": verdict.onset_seq,
        "skipped": [f"{one.action} {one.reason}" for one in decision.skipped],
    }
    if quotes:
        said["objective"] = None if objective is None else one_line(objective, 500)
        said["summary"] = one_line(verdict.summary, 500)
        said["facts"] = {name: _bounded(fact) for name, fact in verdict.evidence.facts.items()}
    return said


def _bounded(fact: object) -> object:
    if isinstance(fact, tuple):
        return [one_line(str(item), 200) for item in fact[:8]]
    return one_line(fact, 200) if isinstance(fact, str) else fact


def told(said: Mapping[str, Any]) -> str:
    """A notice in a few lines, for a person."""
    lines = [
        f"Lucid: {said['failure_mode']} in session {said['session_id']} on {said['host']}",
        f"{said['reason']} (rule {said['rule']!r}, confidence {said['confidence']:.2f})",
    ]
    if said.get("objective"):
        lines.append(f"Objective: {said['objective']}")
    if said.get("summary"):
        lines.append(said["summary"])
    passed = [f"Not at hand: {one}" for one in said["skipped"]]
    return "\n".join([*lines, *passed, f"lucid show {said['session_id']}"])


def alert(said: Mapping[str, Any], at: datetime) -> list[dict[str, Any]]:
    """A notice as Alertmanager's API v2 takes it."""
    labels = {
        "alertname": "LucidEscalation",
        "severity": str(said["severity"]),
        "failure_mode": str(said["failure_mode"]),
        "rule": str(said["rule"] or ""),
        "session": str(said["session_id"]),
        "dedup_key": str(said["dedup_key"]),
    }
    summary, _, description = told(said).partition("\n")
    return [
        {
            "labels": labels,
            "annotations": {"summary": summary, "description": description},
            "startsAt": at.isoformat(),
            "endsAt": (at + _ALERT_LASTS).isoformat(),
        }
    ]


def slack_message(said: Mapping[str, Any]) -> dict[str, Any]:
    """A notice for a chat, where `&`, `<` and `>` are markup."""
    text = told(said)
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, escaped)
    return {"text": text}


def signature(secret: str, timestamp: int, body: bytes) -> str:
    """What a receiver computes over `TIMESTAMP.BODY` and compares, to know who posts; it
    refuses a timestamp that is some minutes old.

    >>> signature("secret", 1767225600, b"{}")[:14]
    'v1=fa7eaa06bf9'
    """
    signed = f"{timestamp}.".encode() + body
    return "v1=" + hmac.new(secret.encode(), signed, sha256).hexdigest()
