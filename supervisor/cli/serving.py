"""What commands share that serve HTTP: where they listen, and who may ask."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict, TypeVar

import click

from supervisor.cli.output import say
from supervisor.cli.shared import log_to_stderr

if TYPE_CHECKING:
    from supervisor.service.address import Address
    from supervisor.service.service import Service
    from supervisor.service.token import Token
    from supervisor.settings import Settings
    from supervisor.store.interface import Store

__all__ = ["Door", "Served", "door_of", "log_the_work", "serving_options", "vital_signs"]

_VITAL_SIGNS = frozenset({"/healthz", "/readyz", "/metrics"})

Command = TypeVar("Command", bound=Callable[..., Any])


class Served(TypedDict):
    """What the options were given as."""

    listen: str | None
    token_file: Path | None
    open_metrics: bool
    allow_host: tuple[str, ...]


_OPTIONS = (
    click.option(
        "--token-file",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="F",
        help="The token that requests must show.  [default: $LUCID_TOKEN, $LUCID_TOKEN_FILE, or "
        "one that is drawn once and kept in your data folder]",
    ),
    click.option("--open-metrics", is_flag=True, help="Serve /metrics without a token, too."),
    click.option(
        "--allow-host",
        multiple=True,
        metavar="NAME",
        help="A name that requests may have for this host, besides localhost and IP addresses; "
        "repeatable.",
    ),
)


def serving_options(command: Command) -> Command:
    """Add the options of `Served`, but for `--listen`, whose default differs."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


class Door(NamedTuple):
    """Where to listen, and who may ask for what."""

    address: Address
    token: Token | None
    open_metrics: bool
    hosts: tuple[str, ...]

    def listening(self) -> socket.socket:
        """A socket there; close it when done. Raises `SupervisorError` where the address
        cannot be had."""
        from supervisor.service.address import listen_on

        return listen_on(self.address)

    def opened(
        self, service: Service, listening: socket.socket, only: frozenset[str] | None = None
    ) -> AbstractAsyncContextManager[Address]:
        """Serve on that socket until the block ends; gives the address."""
        from supervisor.service.app import create_app
        from supervisor.service.serving import served

        app = create_app(
            service,
            token=self.token.value if self.token is not None else None,
            only=only,
            open_metrics=self.open_metrics,
            hosts=self.hosts,
        )
        return served(app, self.address, listening)

    def tell_token(self) -> None:
        """Say where the token is; never what it is."""
        if self.token is not None:
            say(f"token: {self.token.source}", err=True)


def door_of(listen: str, asked: Served, settings: Settings, *, needs_token: bool) -> Door:
    """The door that was asked for. Raises `SupervisorError` where others could reach it and
    nobody chose a token, which they would have to know."""
    from supervisor.errors import SupervisorError
    from supervisor.service.address import read_address
    from supervisor.service.token import find_token

    address = read_address(listen)
    token = find_token(settings, asked["token_file"]) if needs_token else None
    if token is not None and not token.given and not address.is_private:
        raise SupervisorError(
            f"{address} can be reached from other hosts: choose a token for them with "
            "--token-file or LUCID_TOKEN, or listen on 127.0.0.1."
        )
    return Door(address, token, asked["open_metrics"], asked["allow_host"])


@asynccontextmanager
async def vital_signs(
    door: Door, store: Store, lacks: Callable[[], tuple[str, ...]]
) -> AsyncIterator[Address]:
    """Serve health, readiness and metrics, and nothing else, until the block ends. Raises
    `SupervisorError` where the address cannot be had."""
    from supervisor.privacy.redaction import redactor
    from supervisor.service.leaving import Leaving
    from supervisor.service.readiness import Readiness
    from supervisor.service.service import Service

    service = Service(store=store, readiness=Readiness(store, lacks), leaving=Leaving(redactor()))
    with door.listening() as listening:
        async with door.opened(service, listening, _VITAL_SIGNS) as address:
            yield address


def log_the_work() -> None:
    """What a process does that nobody sits before goes to standard error."""
    log_to_stderr(stays=True)
