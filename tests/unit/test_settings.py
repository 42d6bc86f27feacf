"""Settings: the environment over the file over the default, and every fault at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from supervisor.errors import SupervisorError
from supervisor.settings import Settings, read_settings, settings_file


@pytest.fixture(autouse=True)
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The settings file of a user who has set nothing; its folder is there."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for kind in ("CONFIG", "DATA"):
        monkeypatch.setenv(f"XDG_{kind}_HOME", str(tmp_path / kind.lower()))
    for name in Settings.model_fields:
        monkeypatch.delenv(f"LUCID_{name.upper()}", raising=False)
    place = settings_file()
    assert tmp_path in place.parents
    place.parent.mkdir(parents=True)
    return place


def test_without_anything_set_there_are_defaults(tmp_path: Path) -> None:
    settings = read_settings()

    assert settings.policy == "default"
    assert settings.metrics_port is None
    assert Path(settings.store).name == "lucid.db"
    assert tmp_path in Path(settings.store).parents, "below the user's data folder"
    assert settings.spool == Path(settings.store).parent / "spool"
    assert settings.store_wait_seconds == 30


def test_the_file_comes_before_the_default(file: Path) -> None:
    file.write_text('store = "/srv/lucid.db"\nmetrics_port = 9000\n')

    assert read_settings() == Settings(store="/srv/lucid.db", metrics_port=9000)


def test_the_environment_comes_before_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('store = "/srv/lucid.db"\npolicy = "observe"\n')
    monkeypatch.setenv("LUCID_POLICY", "mine.yaml")

    settings = read_settings()
    assert (settings.policy, settings.store) == ("mine.yaml", "/srv/lucid.db")


def test_an_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("STORE", "POLICY", "METRICS_PORT"):
        monkeypatch.setenv(f"LUCID_{name}", "")

    assert read_settings().policy == "default"
    assert read_settings().store.endswith("lucid.db")


def test_no_other_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("LUCID_POLICY=from-dot-env\n")
    monkeypatch.chdir(tmp_path)

    assert read_settings().policy == "default"


def test_settings_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        read_settings().policy = "other"  # type: ignore[misc] # that is what is tested


def faults() -> str:
    with pytest.raises(SupervisorError) as caught:
        read_settings()
    return str(caught.value)


def test_every_fault_is_said_at_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('stoer = "lucid.db"\npolicy = 7\n')
    monkeypatch.setenv("LUCID_METRICS_PORT", "99999")
    said = faults()

    first, *lines = said.splitlines()
    assert first == f"settings (LUCID_* in the environment, or {file}):"
    assert sorted(line.split(":")[0].strip() for line in lines) == [
        "metrics_port",
        "policy",
        "stoer",
    ]


@pytest.mark.parametrize("port", ["-1", "65536", "http", "80.5"])
def test_a_port_is_a_port(monkeypatch: pytest.MonkeyPatch, port: str) -> None:
    monkeypatch.setenv("LUCID_METRICS_PORT", port)
    assert "metrics_port: " in faults()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"policy = default\n", "line 1"),
        (b'policy = "a"\npolicy = "b"\n', "line 2"),
        (b'policy = "\xff"\n', "UTF-8"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_the_reason(
    file: Path, content: bytes, reason: str
) -> None:
    file.write_bytes(content)
    said = faults()

    assert str(file) in said
    assert reason.casefold() in said.casefold()
