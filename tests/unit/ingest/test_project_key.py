"""A folder's project key is the one that the SDK derives."""

from __future__ import annotations

from pathlib import Path

import pytest
from claude_agent_sdk import project_key_for_directory
from hypothesis import given
from hypothesis import strategies as st

from supervisor.ingest.project import project_key


@pytest.mark.parametrize(
    "folder",
    [None, Path("tests"), Path("/srv/my shop_2"), Path("/srv/cafe\N{COMBINING ACUTE ACCENT}")],
)
def test_it_is_the_sdks(folder: Path | None) -> None:
    assert project_key(folder) == project_key_for_directory(folder)


@given(st.text("abc/\N{LATIN SMALL LETTER E WITH ACUTE}\N{ROCKET}", min_size=150, max_size=400))
def test_it_is_the_sdks_for_long_names(name: str) -> None:
    folder = Path(f"/srv/{name}")

    assert project_key(folder) == project_key_for_directory(folder)


def test_a_link_is_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    assert project_key(tmp_path / "link") == project_key(tmp_path / "real")
