"""`create_app`: the ASGI application."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Collection

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from supervisor.errors import StoreError, TranscriptError
from supervisor.service.access import HEALTH, Access
from supervisor.service.counting import Counting
from supervisor.service.operations import OPERATIONS, Operation
from supervisor.service.problem import Refused, refusal
from supervisor.service.service import Service

__all__ = ["create_app"]

log = logging.getLogger(__name__)


def create_app(
    service: Service,
    *,
    token: str | None,
    only: Collection[str] | None = None,
    open_metrics: bool = False,
    hosts: Collection[str] = (),
) -> ASGIApp:
    """The application that shows a service: all that it has the parts for, or the paths in
    `only`. Without a `token` nobody gets anything but health, and metrics where they are open.

    It sends no CORS headers, so pages of other origins can read nothing of it. A request
    must name `localhost`, an IP address or one of `hosts` as its host.
    """
    offered = [
        op
        for op in OPERATIONS
        if (only is None or op.path in only)
        and (op.needs is None or getattr(service, op.needs) is not None)
    ]
    starlette = Starlette(
        routes=[Route(op.path, _endpoint(service, op), methods=[op.method]) for op in offered],
        exception_handlers={HTTPException: _refused_by_routing},
    )
    starlette.router.redirect_slashes = False
    open_paths = HEALTH | ({"/metrics"} if open_metrics else set())
    return Counting(Access(starlette, token=token, open_paths=open_paths, hosts=hosts))


def _endpoint(service: Service, op: Operation) -> Callable[[Request], Awaitable[Response]]:
    async def respond(request: Request) -> Response:
        try:
            return await op.handle(service, request)
        except Refused as refused:
            return refusal(refused)
        except TranscriptError as error:
            return refusal(Refused(404, str(error)))
        except StoreError as error:
            log.warning("%s: the store fails: %s", op.path, type(error).__name__)
            return refusal(Refused(503, "the store is away", {"retry-after": "5"}))
        except Exception as error:
            # An exception's text may quote a transcript.
            log.error("%s failed: %s", op.path, type(error).__name__)
            log.debug("%s failed", op.path, exc_info=True)
            return refusal(Refused(500, "Lucid failed to answer; its log says where"))

    return respond


async def _refused_by_routing(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException), "it is registered for nothing else"
    said = {404: "there is no such path", 405: "not with this method"}
    detail = said.get(error.status_code, error.detail)
    return refusal(Refused(error.status_code, detail, error.headers))
