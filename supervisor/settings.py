"""Settings of a process: where things are. Read once, from the environment and a file.

What to do about failures is the policy's business, and how to detect them each
detector's; there is no fourth place.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, TypeVar

import platformdirs
from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from supervisor.errors import SupervisorError

__all__ = ["Settings", "read_settings", "settings_file"]


_Word = TypeVar("_Word")
_Lower = Annotated[_Word, BeforeValidator(lambda said: str(said).lower())]
"""In small letters, however it is written."""


def _data() -> Path:
    return platformdirs.user_data_path("lucid", appauthor=False)


def _default_store() -> str:
    return str(_data() / "lucid.db")


class Settings(BaseSettings):
    """Where this process keeps and shows things.

    Each comes from the environment (`LUCID_STORE`, ...), else from `lucid.toml` in the
    user's configuration folder, else from the default.
    """

    model_config = SettingsConfigDict(
        env_prefix="LUCID_", env_ignore_empty=True, extra="forbid", frozen=True
    )

    store: str = Field(default_factory=_default_store)
    """What transcripts are kept in: an SQLite file, or `postgresql://USER@HOST/DATABASE`."""
    store_wait_seconds: float = Field(default=30.0, ge=0.0, le=86_400.0)
    """For how long a database that is away is tried when it is to be opened."""
    spool: Path = Field(default_factory=lambda: _data() / "spool")
    """Where on this host waits what a store that is away could not take."""
    policy: str = "default"
    """A policy file, or the name of one that Lucid ships."""
    labels: dict[str, str] = Field(default_factory=dict)
    """What rules may ask for of every session here, such as `{"team": "payments"}`."""
    metrics_port: int | None = Field(default=None, ge=0, le=65535)
    """Where `/metrics` is served on loopback; not at all if unset."""

    listen: str = "127.0.0.1:7311"
    """Where `lucid sidecar` listens: `HOST:PORT` or `unix:PATH`."""
    token: SecretStr | None = None
    """What clients of the service show; better in a file."""
    token_file: Path | None = None
    """The file that it is in; if neither is set, one is drawn and kept in the data folder."""

    redact: bool = True
    """Whether secrets are taken out of what leaves the store: exports, webhooks, logs, the API."""
    otel: bool | None = None
    """Whether telemetry goes out; if unset, where `OTEL_EXPORTER_OTLP_ENDPOINT` is set."""
    log_format: _Lower[Literal["console", "json"]] | None = None
    """How log lines look; if unset, plain for commands, `console` for what runs for long."""
    log_level: _Lower[Literal["debug", "info", "warning", "error"]] | None = None
    """From which level on; if unset, `error` for commands, `info` for what runs for long."""

    lease_seconds: float = Field(default=30.0, ge=1.0)
    """How long a session stays with a worker that gives no sign of life."""

    @property
    def own_token_file(self) -> Path:
        """Where the token is kept that was drawn on this host."""
        return _data() / "service-token"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment before the file; no `.env` files, no secrets folder."""
        file = TomlConfigSettingsSource(settings_cls, toml_file=settings_file())
        return init_settings, env_settings, file


def settings_file() -> Path:
    """Where the settings file is looked for; it need not be there."""
    return platformdirs.user_config_path("lucid", appauthor=False) / "lucid.toml"


def read_settings() -> Settings:
    """The settings, or a `SupervisorError` that lists every fault."""
    try:
        return Settings()
    except ValidationError as error:
        faults = "\n".join(
            f"  {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
            for fault in error.errors()
        )
        raise SupervisorError(
            f"settings (LUCID_* in the environment, or {settings_file()}):\n{faults}"
        ) from error
    except (OSError, ValueError) as error:  # no TOML, or no UTF-8
        raise SupervisorError(
            f"the settings file {settings_file()} cannot be read: {error}"
        ) from error
