"""A real Prometheus for tests, and promtool, from the system's binaries.

A test that asks for them is skipped where Prometheus is not installed; under `CI=true` it
fails.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest

__all__ = ["Prometheus", "program", "running_prometheus"]

_STARTS_WITHIN = 30.0


def program(name: str) -> str:
    """The path of `prometheus` or `promtool`; ends the test where it is not there."""
    found = shutil.which(name)
    if found is not None:
        return found
    missing = f"{name} is not there: make prometheus"
    if os.environ.get("CI") == "true":
        pytest.fail(missing)
    pytest.skip(missing)


class Prometheus:
    """One server, asked through its HTTP API."""

    def __init__(self, address: str) -> None:
        self._address = address

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with urlopen(f"http://{self._address}/-/ready", timeout=5) as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False

    def ask(self, path: str, **parameters: str) -> Any:
        """What it answers at `/api/v1/PATH`; a query that it refuses is an `AssertionError`."""
        url = f"http://{self._address}/api/v1/{path}?{urlencode(parameters)}"
        try:
            with urlopen(url, timeout=20) as response:
                return json.load(response)["data"]
        except HTTPError as error:
            raise AssertionError(f"{parameters}: {error.read().decode()}") from error

    def value(self, expr: str) -> float | None:
        """The value of a query with one series; None where it has none."""
        result = self.ask("query", query=expr)["result"]
        return float(result[0]["value"][1]) if result else None

    def over_time(self, expr: str) -> list[Any]:
        """The series of a query over the last minute, as a panel asks for it."""
        now = time.time()
        span = {"start": str(now - 60), "end": str(now), "step": "5"}
        found: list[Any] = self.ask("query_range", query=expr, **span)["result"]
        return found


@contextmanager
def running_prometheus(folder: Path, config: Mapping[str, Any]) -> Iterator[Prometheus]:
    """A server with its data in `folder`, for as long as it is entered."""
    binary = program("prometheus")
    file = folder / "prometheus.yaml"
    file.write_text(json.dumps(config), encoding="utf-8")
    address = f"127.0.0.1:{_free_port()}"
    log = folder / "prometheus.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [
                binary,
                f"--config.file={file}",
                f"--storage.tsdb.path={folder / 'tsdb'}",
                f"--web.listen-address={address}",
                "--log.level=warn",
            ],
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
        )
    try:
        server = Prometheus(address)
        give_up = time.monotonic() + _STARTS_WITHIN
        while not server.is_ready():
            if process.poll() is not None or time.monotonic() > give_up:
                raise RuntimeError(f"Prometheus did not start:\n{log.read_text()}")
            time.sleep(0.05)
        yield server
    finally:
        process.terminate()
        process.wait(_STARTS_WITHIN)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port
