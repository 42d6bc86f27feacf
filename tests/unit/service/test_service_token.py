"""The token: where it is looked for, and how one is drawn."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from supervisor.errors import SupervisorError
from supervisor.service.token import find_token
from supervisor.settings import Settings, read_settings

GIVEN = "0123456789abcdef"


@pytest.fixture(autouse=True)
def _own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("LUCID_TOKEN", "LUCID_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def test_one_is_drawn_for_the_users_eyes_only_and_kept() -> None:
    settings = read_settings()

    drawn, again = find_token(settings), find_token(settings)

    assert drawn == again
    assert not drawn.given
    assert len(drawn.value) >= 32
    file = settings.own_token_file
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_the_environments_comes_before_a_drawn_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUCID_TOKEN", GIVEN)
    assert find_token(read_settings()) == (GIVEN, "LUCID_TOKEN", True)


def test_a_file_comes_before_the_environments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUCID_TOKEN", "another-token-than-this")
    (tmp_path / "token").write_text(f"{GIVEN}\n")
    assert find_token(read_settings(), tmp_path / "token").value == GIVEN


def test_the_settings_may_name_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "token").write_text(GIVEN)
    monkeypatch.setenv("LUCID_TOKEN_FILE", str(tmp_path / "token"))
    found = find_token(read_settings())
    assert (found.value, found.given) == (GIVEN, True)


@pytest.mark.parametrize(
    "written",
    ["", "short", "has a space in between", "two-lines-of-it\nmore", "ünïcödé-tökens-are-none"],
)
def test_a_token_that_cannot_serve_is_refused_without_being_shown(
    tmp_path: Path, written: str
) -> None:
    (tmp_path / "token").write_text(written)
    with pytest.raises(SupervisorError) as refused:
        find_token(read_settings(), tmp_path / "token")
    assert str(tmp_path / "token") in str(refused.value)
    assert not written or written not in str(refused.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SupervisorError, match="nowhere"):
        find_token(read_settings(), tmp_path / "nowhere")


def test_nothing_that_prints_settings_or_tokens_shows_one() -> None:
    settings = Settings(token=GIVEN)
    assert GIVEN not in repr(settings)
    assert GIVEN not in repr(find_token(settings))
    assert GIVEN not in f"{find_token(settings)}"
