"""`Address`: where the service listens, and the socket that it listens on."""

from __future__ import annotations

import ipaddress
import os
import socket
import stat
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from supervisor.errors import SupervisorError

__all__ = ["Address", "listen_on", "read_address"]

_BACKLOG = 512


class Address(NamedTuple):
    """A host and a port, or a unix socket's path."""

    host: str
    port: int
    path: Path | None = None

    @property
    def is_private(self) -> bool:
        """Whether only this host can reach it."""
        if self.path is not None or self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"


def read_address(text: str) -> Address:
    """`HOST:PORT`, `[IPv6]:PORT`, `PORT` (on loopback) or `unix:PATH`. Port 0 leaves the
    choice to the system. Raises `SupervisorError` for anything else.

    >>> [str(read_address(text)) for text in ("7311", "[::1]:80", "unix:/run/lucid.sock")]
    ['http://127.0.0.1:7311', 'http://[::1]:80', 'unix:/run/lucid.sock']
    """
    if text.startswith("unix:") and len(text) > len("unix:"):
        return Address("", 0, Path(text.removeprefix("unix:").removeprefix("//")))
    try:
        parts = urlsplit(f"//127.0.0.1:{text}" if text.isdecimal() else f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if host is None or port is None or parts.path or parts.username is not None:
        raise SupervisorError(
            f"cannot listen on {text!r}: write HOST:PORT, such as 127.0.0.1:7311, or unix:PATH."
        )
    return Address(host, port)


def listen_on(address: Address) -> socket.socket:
    """A socket that listens there; close it when done. A unix socket is for its owner only,
    and replaces one on which nobody answers. Raises `SupervisorError` where it cannot be had.
    """
    try:
        return _unix(address.path) if address.path is not None else _tcp(address)
    except OSError as error:
        raise SupervisorError(
            f"cannot listen on {address}: {error.strerror or error}. "
            "Choose another place with --listen."
        ) from error


def _tcp(address: Address) -> socket.socket:
    family, kind, protocol, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        made.listen(_BACKLOG)
    except BaseException:
        made.close()
        raise
    return made


def _unix(path: Path) -> socket.socket:
    _clear(path)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        # Made under another name, so that nobody connects before the mode is set.
        made.bind(str(draft))
        draft.chmod(stat.S_IRUSR | stat.S_IWUSR)
        made.listen(_BACKLOG)
        draft.rename(path)
    except BaseException:
        made.close()
        draft.unlink(missing_ok=True)
        raise
    return made


def _clear(path: Path) -> None:
    """Remove a socket that a process left which is gone; raise where one answers, or where
    something else is there."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(mode):
        raise OSError(0, "something else than a socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise OSError(0, "another process listens there")
