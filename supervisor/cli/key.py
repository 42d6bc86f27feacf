"""`lucid key`: a key to encrypt the store with."""

from __future__ import annotations

import click

from supervisor.privacy.keyring import new_key

__all__ = ["key"]


@click.command()
def key() -> None:
    """Make a key for LUCID_STORE_KEY, which encrypts what is stored from then on.

    Keep it where you keep other secrets: without it the store cannot be read. To change it,
    put a new one before it, with a comma between.
    """
    click.echo(new_key())
