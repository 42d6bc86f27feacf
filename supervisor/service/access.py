"""Who may ask for what: the door of the application."""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Collection

from starlette.types import ASGIApp, Receive, Scope, Send

from supervisor.service.problem import Refused, refusal
from supervisor.service.token import hooks_token

__all__ = ["HEALTH", "Access"]

HEALTH = frozenset({"/healthz", "/readyz"})
"""What anybody may ask for: a kubelet has no token."""

_HOOKS = "/hooks"


class Access:
    """Lets requests with the token through, and those for `open_paths`. Hooks may be posted
    with the token of the agents, too.

    A request must also name a host that is ours: an IP address, `localhost` or one of
    `hosts`. A page in a browser whose own name was pointed at this host (DNS rebinding)
    names another.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        token: str | None,
        open_paths: Collection[str] = HEALTH,
        hosts: Collection[str] = (),
    ) -> None:
        """Without a token only `open_paths` are served."""
        self._app = app
        self._token = token.encode() if token is not None else None
        self._hooks_token = hooks_token(token).encode() if token is not None else None
        self._open = frozenset(open_paths)
        self._hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return  # uvicorn is told to serve nothing else
        headers = dict(scope["headers"])  # of a name that comes twice, the last
        if not self._is_ours(headers.get(b"host", b"")):
            refused = Refused(421, "the Host header names no host of this service")
            await refusal(refused)(scope, receive, send)
            return
        path, shown = _path_and_token(scope["path"], headers.get(b"authorization", b""))
        if path not in self._open and not self._is_right(shown, for_hooks=path == _HOOKS):
            refused = Refused(
                401,
                "the token is missing or wrong: send it as 'Authorization: Bearer TOKEN'",
                {"www-authenticate": "Bearer"},
            )
            await refusal(refused)(scope, receive, send)
            return
        await self._app(_at(scope, path), receive, send)

    def _is_right(self, shown: bytes, *, for_hooks: bool) -> bool:
        right = [self._token, self._hooks_token] if for_hooks else [self._token]
        return any(one is not None and hmac.compare_digest(shown, one) for one in right)

    def _is_ours(self, header: bytes) -> bool:
        name = _name_of(header.decode("latin-1").lower())
        if name == "localhost" or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _path_and_token(path: str, authorization: bytes) -> tuple[str, bytes]:
    """The path without a token in it, and the token that is shown."""
    kind, _, shown = authorization.partition(b" ")
    if path.startswith(f"{_HOOKS}/"):
        return _HOOKS, path.removeprefix(f"{_HOOKS}/").encode()
    return path, shown.strip() if kind.lower() == b"bearer" else b""


def _at(scope: Scope, path: str) -> Scope:
    """The request as the application sees it: no token is in its path."""
    if scope["path"] == path:
        return scope
    return {**scope, "path": path, "raw_path": path.encode()}


def _name_of(host: str) -> str:
    """The host of a Host header, without its port."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]
