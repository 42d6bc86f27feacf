"""`lucid key`, `lucid seal`: a key to encrypt the store with, and what is in it already."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from supervisor.cli.exits import Exit
from supervisor.cli.output import say, say_json
from supervisor.cli.shared import json_option, open_store, reporting, store_option
from supervisor.errors import SupervisorError
from supervisor.privacy.keyring import VARIABLE, keyring, new_key

if TYPE_CHECKING:
    from supervisor.store.interface import Store

__all__ = ["key", "seal"]


@click.command()
def key() -> None:
    """Make a key for LUCID_STORE_KEY, which encrypts what is stored from then on.

    Keep it where you keep other secrets: without it the store cannot be read. To change it,
    put a new one before it, with a comma between. What is in the store already is encrypted
    by 'lucid seal'.
    """
    click.echo(new_key())


@click.command()
@store_option
@json_option
@reporting
async def seal(store: str | None, as_json: bool) -> int:
    """Encrypt what is in the store with the first key of LUCID_STORE_KEY: what was stored
    before there was a key, or with one of the others there.

    Agents may be at work meanwhile. Where it is broken off, do it again: it goes on with what
    is left.
    """
    if not keyring().seals:
        raise SupervisorError(f"there is no key to encrypt with: set {VARIABLE}, see 'lucid key'.")
    async with open_store(store) as kept:
        sealed, looked_at = await _seal(kept, as_json)
    if not as_json:
        say(f"{sealed:,} of {looked_at:,} records were encrypted, and the others are already")
    return Exit.REACHED


async def _seal(store: Store, as_json: bool) -> tuple[int, int]:
    from supervisor.store.sealing import seal

    sealed: Counter[str] = Counter()
    looked_at: Counter[str] = Counter()
    async for part in seal(store):
        sealed[part.table] += part.sealed
        looked_at[part.table] += part.looked_at
        if part.next is None and as_json:
            figures = {"looked_at": looked_at[part.table], "sealed": sealed[part.table]}
            say_json({"table": part.table, **figures})
        elif part.next is None and sealed[part.table]:
            say(f"{part.table}: {sealed[part.table]:,}")
    return sealed.total(), looked_at.total()
