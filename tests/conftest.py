"""Fixtures every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: half of the time, tests wait for other processes."""
    return (os.cpu_count() or 1) + 1


@pytest.fixture
def anyio_backend() -> str:
    """The SDK's client and Lucid's runtime live on asyncio."""
    return "asyncio"


@pytest.fixture(scope="session")
def fixtures() -> Path:
    """The folder of fixture files."""
    return ROOT / "tests" / "fixtures"


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The folder of real labelled traces, which a public clone does not have."""
    folder = ROOT.parent / "shared" / "corpora"
    if not folder.is_dir():
        pytest.skip(f"the corpora are not there: no folder {folder}")
    return folder
