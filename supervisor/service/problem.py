"""Refusals, as values and as responses."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from supervisor.service.schema import Problem

__all__ = ["PHRASES", "PROBLEM_TYPE", "Refused", "answer", "refusal"]

PHRASES = {
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    415: "Unsupported Media Type",
    421: "Misdirected Request",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
"""The statuses of refusals in words; Python's own change with its version."""

PROBLEM_TYPE = "application/problem+json"
_ALWAYS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}


class Refused(Exception):
    """A request that is answered with a `Problem`."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.detail = detail
        self.headers = headers
        super().__init__(detail)


def answer(value: object, status: int = 200) -> Response:
    """A value as JSON."""
    content = msgspec.json.encode(value)
    return Response(content, status, media_type="application/json", headers=_ALWAYS)


def refusal(refused: Refused) -> Response:
    """A refusal as a response."""
    problem = Problem(
        title=PHRASES.get(refused.status, "Refused"), status=refused.status, detail=refused.detail
    )
    return Response(
        msgspec.json.encode(problem),
        refused.status,
        media_type=PROBLEM_TYPE,
        headers={**_ALWAYS, **(refused.headers or {})},
    )
