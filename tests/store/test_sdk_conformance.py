"""A store is a session store of the Agent SDK, to the letter of its own test suite."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest
from claude_agent_sdk import SessionStore
from claude_agent_sdk.testing import run_session_store_conformance

from supervisor.store.interface import Store

if TYPE_CHECKING:
    from tests.store.conftest import Backend

pytestmark = pytest.mark.anyio


async def test_the_sdks_conformance_suite_passes_in_full(backend: Backend) -> None:
    await run_session_store_conformance(backend.fresh)


def test_no_method_of_the_sdks_protocol_is_left_out() -> None:
    methods = [name for name, _ in inspect.getmembers(SessionStore, inspect.isfunction)]
    public = [name for name in methods if not name.startswith("_")]
    assert public
    assert [name for name in public if getattr(Store, name) is getattr(SessionStore, name)] == []
